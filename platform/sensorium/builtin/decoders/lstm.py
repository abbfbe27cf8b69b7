"""An LSTM that is shown a picture once, before its first word.

Shapes: B samples, D channels of the features, V words of the vocabulary.
"""

from __future__ import annotations

from torch import Tensor, nn

from sensorium import Decoder, Features, Modality
from sensorium.builtin.decoders.words import State, WordDecoder, memory
from sensorium.builtin.encoders.inputs import embedding


class LSTM(WordDecoder):
    """The features are the LSTM's input at step -1, and at no other (Vinyals et al., CVPR 2015, equations 10 to 12)."""

    class Config(Decoder.Config):
        """Sizes."""

        dim: int = 256
        """Channels of the state and of the vector of a word."""

        dropout: float = 0.0
        """Share of the channels that are left out, in training, of what goes in and out."""

        def __post_init__(self) -> None:
            if self.dim < 1 or not 0 <= self.dropout < 1:
                raise ValueError("dim is at least 1; dropout lies in [0, 1).")

    config: Config

    def __init__(self, config: Config, dim: int, modality: Modality) -> None:
        super().__init__(config, dim, modality)
        # One look stands against thirty words: both begin at unit variance, whatever the scale of the encoder.
        self.show = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, config.dim))
        self.embed = embedding(modality, config.dim)
        nn.init.normal_(self.embed.weight)
        self.cell = memory(config.dim, config.dim)
        self.out = nn.Linear(config.dim, modality.vocabulary)
        self.dropout = nn.Dropout(config.dropout)

    def begin(self, features: Features) -> State:
        """Returns the LSTM's state h and c, each (B, dim), after it has seen the features."""
        state: State = self.cell(self.dropout(self.show(features.pooled)))
        return state

    def step(self, word: Tensor, state: State) -> tuple[Tensor, State, None]:
        """Returns the logits (B, V) of the next word and the state."""
        hidden, cell = self.cell(self.dropout(self.embed(word)), (state[0], state[1]))
        return self.out(self.dropout(hidden)), (hidden, cell), None
