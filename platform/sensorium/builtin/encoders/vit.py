"""A vision transformer for pictures and spectrograms.

Shapes: B samples, C channels, H rows and W columns of patches, T = H * W, D channels, P side of a patch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Encoder, Features, Modality, Padded
from sensorium.builtin.encoders.inputs import fixed, unpack
from sensorium.builtin.encoders.pooling import grid_mask, mean_pool
from sensorium.builtin.encoders.transformer import TransformerBlock


class ViT(Encoder):
    """Patches through a transformer (Dosovitskiy et al., ICLR 2021), pooled by the mean of their tokens.

    Positions are fixed sines and cosines of row and column, so a spectrogram may have any length
    (both choices as in Beyer et al., "Better plain ViT baselines for ImageNet-1k", 2022).
    """

    takes = ("image", "spectrogram")

    class Config(Encoder.Config):
        """Sizes."""

        patch: int = 16
        """P, side of a patch in pixels, or in bins and frames. Edges are filled up with zeros."""

        dim: int = 192
        """D, channels of the tokens and of the result."""

        depth: int = 6
        """Number of blocks."""

        heads: int = 3
        """Attention heads in a block; divides dim."""

        mlp_ratio: float = 4.0
        """Hidden channels of the perceptrons over D."""

        def __post_init__(self) -> None:
            if min(self.patch, self.dim, self.depth, self.heads) < 1 or self.mlp_ratio <= 0:
                raise ValueError("patch, dim, depth and heads are at least 1, and mlp_ratio above 0.")
            if self.dim % self.heads or self.dim % 4:
                raise ValueError("dim is a multiple of heads, and of 4.")

    def __init__(self, config: ViT.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim, self.patch = config.dim, config.patch
        self.embed = nn.Conv2d(fixed(modality, 0), config.dim, config.patch, config.patch)
        self.blocks = nn.ModuleList(
            TransformerBlock(config.dim, config.heads, config.mlp_ratio) for _ in range(config.depth)
        )
        self.norm = nn.LayerNorm(config.dim)

    def forward(self, batch: Tensor | Padded) -> Features:
        """Returns pooled (B, D), tokens (B, T, D) and their grid (H, W)."""
        picture, mask = unpack(batch)
        if mask is not None:
            picture, mask = picture * mask[:, None, None], mask[:, :: self.patch]
        height, width = picture.shape[2:]
        grid = self.embed(F.pad(picture, (0, -width % self.patch, 0, -height % self.patch)))
        rows, columns = grid.shape[2:]
        mask = grid_mask(mask, rows)
        tokens = grid.flatten(2).transpose(1, 2) + positions(rows, columns, self.dim, grid.device)
        for block in self.blocks:
            tokens = block(tokens, mask)
        tokens = self.norm(tokens)
        return Features(mean_pool(tokens, mask), tokens, mask, (rows, columns))


def positions(rows: int, columns: int, dim: int, device: torch.device | None = None) -> Tensor:
    """Returns the codes (rows * columns, dim) of the places of a grid.

    A quarter of the channels each holds sine and cosine of the row, and of the column, at frequencies
    from 1 down to 1 / 10000 (Vaswani et al., section 3.5, along each axis).
    """
    frequencies = 10000 ** -torch.linspace(0, 1, dim // 4, device=device)
    row, column = (torch.arange(count, device=device)[:, None] * frequencies for count in (rows, columns))
    row, column = row[:, None].expand(-1, columns, -1), column[None].expand(rows, -1, -1)
    return torch.cat([row.sin(), row.cos(), column.sin(), column.cos()], 2).flatten(0, 1)
