"""An LSTM that looks anew at the places of a picture before each word.

Shapes: B samples, P places, D channels of the features, A channels of the attention, V words of the vocabulary.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import Decoder, Features, Modality, UserError
from sensorium.builtin.decoders.words import State, WordDecoder, memory
from sensorium.builtin.encoders.inputs import embedding
from sensorium.builtin.encoders.pooling import mean_pool

WAVES = 4
"""Frequencies of sine and cosine by which a place is told, along each axis."""


class AttentionLSTM(WordDecoder):
    """Soft attention over places, from the state before the word (Xu et al., ICML 2015, sections 3.1 and 4.2)."""

    class Config(Decoder.Config):
        """Sizes, and what is looked at."""

        dim: int = 256
        """Channels of the state and of the vector of a word."""

        attention_dim: int = 64
        """A, channels in which places and state are compared."""

        attention: Literal["soft", "uniform"] = "soft"
        """Learnt weights of the places, or the same weight for all, as a control."""

        dropout: float = 0.0
        """Share of the channels that are left out, in training, before the words' scores."""

        def __post_init__(self) -> None:
            if min(self.dim, self.attention_dim) < 1 or not 0 <= self.dropout < 1:
                raise ValueError("dim and attention_dim are at least 1; dropout lies in [0, 1).")

    config: Config

    def __init__(self, config: Config, dim: int, modality: Modality) -> None:
        super().__init__(config, dim, modality)
        width = config.dim
        self.place = nn.Linear(4 * WAVES, dim)
        self.first_hidden, self.first_cell = nn.Linear(dim, width), nn.Linear(dim, width)
        if config.attention == "soft":
            self.keys = nn.Linear(dim, config.attention_dim)
            self.query = nn.Linear(width, config.attention_dim, bias=False)
            self.score = nn.Linear(config.attention_dim, 1, bias=False)
        self.gate = nn.Linear(width, 1)
        self.embed = embedding(modality, width)
        self.cell = memory(width + dim, width)
        self.out_hidden, self.out_seen = nn.Linear(width, width), nn.Linear(dim, width, bias=False)
        self.out = nn.Linear(width, modality.vocabulary)
        self.dropout = nn.Dropout(config.dropout)

    def begin(self, features: Features) -> State:
        """Returns the state: h and c from the mean of the places (section 3.1.2), the places, their keys, their mask.

        Raises:
            UserError: The features have no places.
        """
        if features.tokens is None:
            raise UserError("The encoder gives no places to look at.", "`tokens` were expected.", "Take `convnet`.")
        places = features.tokens + self.place(coordinates(features))
        mask = features.mask
        real = torch.ones(places.shape[:2], dtype=torch.bool, device=places.device) if mask is None else mask
        mean = mean_pool(places, mask)
        hidden, cell = torch.tanh(self.first_hidden(mean)), torch.tanh(self.first_cell(mean))
        keys = self.keys(places) if self.config.attention == "soft" else places[..., :0]
        return hidden, cell, places, keys, real

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, Tensor]:
        """Returns the logits (B, V) of the next word, the state, and the weights (B, P) of the places."""
        hidden, cell, places, keys, real = state
        weights = self._weights(hidden, keys, real)
        # Equation 13 and the gate of section 4.2.1, which says how much the picture counts for this word.
        seen = torch.sigmoid(self.gate(hidden)) * (weights[:, None] @ places)[:, 0]
        known = self.embed(word)
        hidden, cell = self.cell(torch.cat([known, seen], 1), (hidden, cell))
        # Equation 7.
        deep = known + self.out_hidden(self.dropout(hidden)) + self.out_seen(seen)
        return self.out(self.dropout(torch.tanh(deep))), (hidden, cell, places, keys, real), weights

    def _weights(self, hidden: Tensor, keys: Tensor, real: Tensor) -> Tensor:
        """Returns the weights (B, P), equations 4 to 6."""
        if self.config.attention == "uniform":
            return real / real.sum(1, keepdim=True)
        scores: Tensor = self.score(torch.tanh(keys + self.query(hidden)[:, None]))[..., 0]
        return scores.masked_fill(~real, -torch.inf).softmax(1)


def coordinates(features: Features) -> Tensor:
    """Returns where each place lies, (B, P, 4 * WAVES): waves along the rows and the real columns of the grid."""
    assert features.tokens is not None
    batch, count, _ = features.tokens.shape
    device = features.tokens.device
    index = torch.arange(count, device=device)
    if features.grid is not None and len(features.grid) == 2:
        rows, columns = features.grid
        real = index.new_full((batch,), columns)
        if features.mask is not None:
            real = features.mask.unflatten(1, (rows, columns))[:, 0].sum(1)
        at = torch.stack([(index // columns / rows).expand(batch, -1), index % columns / real[:, None]], 2)
    else:
        total = count if features.mask is None else features.mask.sum(1)[:, None, None]
        at = (index[None, :, None] / total).expand(batch, -1, 2)
    angles = at[..., None] * torch.pi * 2.0 ** torch.arange(-1, WAVES - 1, device=device)
    return torch.cat([angles.sin(), angles.cos()], -1).flatten(2)
