"""A transformer that reads text from left to right.

Shapes: B samples, T tokens, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import Encoder, Features, Modality, Padded
from sensorium.builtin.encoders.inputs import embedding, fixed
from sensorium.builtin.encoders.transformer import TransformerBlock


class TextTransformer(Encoder):
    """A causal transformer over tokens, as CLIP's; the last real one, <eos>, stands for the whole text.

    Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
    section 2.4.
    """

    takes = ("tokens",)

    class Config(Encoder.Config):
        """Sizes."""

        dim: int = 128
        """D, channels of the tokens and of the result."""

        depth: int = 4
        """Number of blocks."""

        heads: int = 4
        """Attention heads in a block; divides dim."""

        def __post_init__(self) -> None:
            if min(self.dim, self.depth, self.heads) < 1:
                raise ValueError("dim, depth and heads are at least 1.")
            if self.dim % self.heads:
                raise ValueError("dim is a multiple of heads.")

    def __init__(self, config: TextTransformer.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim = config.dim
        self.embed = embedding(modality, config.dim)
        self.positions = nn.Parameter(torch.empty(fixed(modality, 0), config.dim))
        nn.init.normal_(self.positions, std=0.01)
        self.blocks = nn.ModuleList(TransformerBlock(config.dim, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and tokens (B, T, D)."""
        tokens: Tensor = self.embed(batch.data) + self.positions[: batch.data.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, causal=True)  # what pads comes after, where no real token looks
        tokens = self.norm(tokens)
        last = batch.mask.sum(1) - 1
        pooled = tokens[torch.arange(tokens.shape[0], device=tokens.device), last]
        return Features(pooled, tokens, batch.mask)
