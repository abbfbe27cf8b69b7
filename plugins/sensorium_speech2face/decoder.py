"""The face decoder: from the feature of a face to the face itself, from the front and evenly lit.

Shapes: B faces, D channels of a feature, C channels of a picture, H = W its side.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config, UserError
from sensorium.builtin.modalities.image import Image


class FaceDecoder(nn.Module):
    """A linear layer, by which features are compared too, a second one, and convolutions that double the sides.

    Args:
        config: Sizes.
        dim: D.
        image: How its pictures are normalised.

    Raises:
        UserError: Pictures are not squares whose side can be halved.
    """

    class Config(Config):
        """Sizes."""

        first: int = 1000
        """Channels of the first layer."""
        width: int = 32
        """Channels at the picture's full size; there are twice as many at half the size, up to `most`."""
        most: int = 256
        """Largest number of channels."""

        def __post_init__(self) -> None:
            if min(self.first, self.width, self.most) < 1:
                raise ValueError("first, width and most are at least 1.")

    def __init__(self, config: Config, dim: int, image: Image) -> None:
        super().__init__()
        height, side, times = *image.size, 0
        if height != side or side % 2:
            raise UserError(
                f"Pictures of {height} x {side} cannot be drawn.",
                "A square of an even side was expected.",
                "Set `size`.",
            )
        while side % 2 == 0 and side > 5:
            side, times = side // 2, times + 1
        self.side, self.image = side, image
        widths = [min(config.most, config.width * 2 ** (times - scale)) for scale in range(times + 1)]
        self.first = nn.Linear(dim, config.first)
        self.second = nn.Linear(config.first, widths[0] * side**2)
        self.scales = nn.ModuleList(Scale(before, after) for before, after in pairwise(widths))
        self.paint = nn.Conv2d(widths[-1], image.config.channels, 3, padding=1)

    def forward(self, feature: Tensor) -> Tensor:
        """Returns pictures (B, C, H, W), as the modality normalises them, of features (B, D)."""
        grid = F.relu(self.second(F.relu(self.first(feature)))).unflatten(1, (-1, self.side, self.side))
        for scale in self.scales:
            grid = scale(grid)
        pixels = torch.sigmoid(self.paint(grid))
        return (pixels - self.image.mean.to(pixels)) / self.image.std.to(pixels)


class Scale(nn.Module):
    """Twice the rows and columns."""

    def __init__(self, before: int, after: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1)
        self.norm = nn.GroupNorm(1, after)

    def forward(self, grid: Tensor) -> Tensor:
        """Returns (B, C', 2 H, 2 W) from (B, C, H, W)."""
        return F.relu(self.norm(self.conv(F.interpolate(grid, scale_factor=2))))
