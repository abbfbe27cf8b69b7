"""A small residual convolutional network for pictures and spectrograms.

Shapes: B samples, C channels, H rows, W columns (bins and frames of a spectrogram), T = H * W of the
last grid, D channels of the result.
"""

from __future__ import annotations

from dataclasses import field
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Encoder, Features, Modality, Padded
from sensorium.builtin.encoders.inputs import fixed, unpack
from sensorium.builtin.encoders.pooling import grid_mask, max_pool


class ConvNet(Encoder):
    """Residual 3 x 3 convolutions with layer normalisation; pooled by the maximum over the grid, or as one piece.

    It has no batch statistics: what it makes of a sample does not depend on the rest of the batch.
    """

    takes = ("image", "spectrogram")

    class Config(Encoder.Config):
        """Sizes."""

        widths: list[int] = field(default_factory=lambda: [32, 64, 128])
        """Channels of each stage. Each stage but the first halves rows and columns."""

        depth: int = 1
        """Residual blocks in a stage."""

        dim: int = 128
        """D, channels of the result."""

        pool: Literal["max", "flatten"] = "max"
        """How the grid becomes one vector: the maximum over the places, or a linear map of all of them, which
        tells where something is and wants pictures of one size."""

        def __post_init__(self) -> None:
            if not self.widths or min(self.widths) < 1 or self.depth < 0 or self.dim < 1:
                raise ValueError("widths holds at least one stage; widths and dim are at least 1, depth at least 0.")

    def __init__(self, config: ConvNet.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.stem = nn.Conv2d(fixed(modality, 0), config.widths[0], 3, padding=1)
        layers: list[Block | Halve] = []
        for stage, width in enumerate(config.widths):
            if stage:
                layers.append(Halve(config.widths[stage - 1], width))
            layers.extend(Block(width) for _ in range(config.depth))
        self.layers = nn.ModuleList(layers)
        self.norm = nn.LayerNorm(config.widths[-1])
        self.project = nn.Linear(config.widths[-1], config.dim)
        self.dim = config.dim
        self.join: nn.Linear | None = None
        if config.pool == "flatten":
            rows, columns = (_halved(fixed(modality, axis), len(config.widths) - 1) for axis in (1, 2))
            self.join = nn.Linear(rows * columns * config.dim, config.dim)

    def forward(self, batch: Tensor | Padded) -> Features:
        """Returns pooled (B, D), tokens (B, T, D) and their grid (H, W)."""
        picture, mask = unpack(batch)
        grid = self.stem(real(picture, mask))
        for layer in self.layers:
            grid, mask = layer(grid, mask)
        rows, columns = grid.shape[2:]
        tokens = self.project(self.norm(grid.flatten(2).transpose(1, 2)))
        mask = grid_mask(mask, rows)
        pooled = max_pool(tokens, mask) if self.join is None else self.join(F.gelu(tokens).flatten(1))
        return Features(pooled, tokens, mask, (rows, columns))


def _halved(size: int, times: int) -> int:
    return size if times == 0 else _halved((size + 1) // 2, times - 1)


class Block(nn.Module):
    """Two convolutions whose result is added to their input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, grid: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns grid (B, C, H, W) and mask (B, W)."""
        inner = F.gelu(self.first(real(self.norm(grid), mask)))
        return grid + self.second(real(inner, mask)), mask


class Halve(nn.Module):
    """Half the rows and columns, rounded up."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(before)
        self.conv = nn.Conv2d(before, after, 3, stride=2, padding=1)

    def forward(self, grid: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Returns grid (B, C, H / 2, W / 2) and mask (B, W / 2)."""
        return self.conv(real(self.norm(grid), mask)), None if mask is None else mask[:, ::2]


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the channels of each place of (B, C, H, W)."""

    def forward(self, grid: Tensor) -> Tensor:
        """Returns (B, C, H, W)."""
        return super().forward(grid.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def real(grid: Tensor, mask: Tensor | None) -> Tensor:
    """Returns (B, C, H, W) with zeros where columns pad, as a convolution sees them beyond an edge."""
    return grid if mask is None else grid * mask[:, None, None]
