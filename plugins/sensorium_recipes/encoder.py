"""What reads a recipe: a bidirectional LSTM over its ingredients, an LSTM over the sentences of its instructions.

A. Salvador et al., Learning Cross-modal Embeddings for Cooking Recipes and Food Images, CVPR 2017, section 4.1.

Shapes: B samples, S items of a list, K items of all lists, T tokens of an item, V channels of a word, H of a state.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import Encoder, Features, Modality
from sensorium.builtin.encoders.inputs import embedding
from sensorium.builtin.encoders.pooling import mean_pool
from sensorium.builtin.encoders.sequences import last
from sensorium.builtin.modalities.text import BOS, EOS, PAD
from sensorium_recipes.modality import Lists


class RecipeLSTM(Encoder):
    """Ingredients and instructions, read one after another and joined by a linear map."""

    exportable = False  # packed sequences are not
    takes = ("recipe",)

    class Config(Encoder.Config):
        """Sizes, and what is read in order."""

        word_dim: int = 64
        """V, size of a word's vector."""
        hidden: int = 128
        """H, size of the state of each LSTM, in each direction."""
        dim: int = 128
        """Size of the result."""
        instructions: Literal["lstm", "mean", "none"] = "lstm"
        """What becomes of the vectors of the sentences: an LSTM reads them in order, or their mean is taken as if they
        lay in a bag, or they are left out."""

        def __post_init__(self) -> None:
            if min(self.word_dim, self.hidden, self.dim) < 1:
                raise ValueError("word_dim, hidden and dim are at least 1.")

    def __init__(self, config: RecipeLSTM.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        width, hidden, self.dim, self.how = config.word_dim, config.hidden, config.dim, config.instructions
        self.words = embedding(modality, width)
        nn.init.normal_(self.words.weight, std=width**-0.5)
        self.ingredients = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        joined = 2 * hidden
        if self.how != "none":
            self.sentences = nn.LSTM(width, hidden, batch_first=True)
            joined += hidden
        if self.how == "lstm":
            self.instructions = nn.LSTM(hidden, hidden, batch_first=True)
        self.join = nn.Linear(joined, config.dim)

    def forward(self, batch: Mapping[str, Lists]) -> Features:
        """Returns pooled (B, D)."""
        ingredients = batch["ingredients"]
        parts = [last(self.ingredients, self._items(ingredients, self._mean), ingredients.lengths)]
        if self.how != "none":
            instructions = batch["instructions"]
            vectors = self._items(instructions, self._read)
            if self.how == "lstm":
                parts.append(last(self.instructions, vectors, instructions.lengths))
            else:
                parts.append(mean_pool(vectors, instructions.mask))
        return Features(self.join(torch.cat(parts, 1)))

    def _items(self, texts: Lists, vector: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Returns a vector for each real item, (B, S, H), 0 for the others."""
        words = texts.words.flatten()
        if torch.compiler.is_exporting():  # a graph has no number of items that depends on which are real
            every = vector(texts.data.flatten(0, 1), words.clamp(min=1)) * (words > 0)[:, None]
            count, items = texts.data.shape[:2]
            return every[torch.arange(count)[:, None] * items + torch.arange(items)]
        real = words.nonzero().squeeze(1)  # on the host, which knows how many there are
        there = real.to(texts.data.device, non_blocking=True)
        made = vector(texts.data.flatten(0, 1).index_select(0, there), words[real])
        vectors = made.new_zeros(len(words), made.shape[1]).index_copy(0, there, made)
        return vectors.view(*texts.mask.shape, -1)

    def _mean(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Returns the mean of the words' vectors, (K, V), of ids (K, T); 0 for an item without any."""
        real = ((ids != PAD) & (ids != BOS) & (ids != EOS)).to(self.words.weight.dtype)[..., None]
        mean: Tensor = (self.words(ids) * real).sum(1) / real.sum(1).clamp(min=1)
        return mean

    def _read(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Returns the state after the last word, (K, H), of ids (K, T)."""
        return last(self.sentences, self.words(ids), lengths)
