"""Changes of pictures for augmentation: where pixels lie, and how bright and colourful they are.

Shapes: C channels, H rows, W columns. Pixels lie in [0, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def affine(picture: Tensor, degrees: float, zoom: float, move: tuple[float, float]) -> Tensor:
    """Returns a picture rotated about its centre, magnified and moved, in one bilinear resampling.

    Args:
        picture: (C, H, W). Outside it, its border goes on.
        degrees: Angle against the clock.
        zoom: Factor of magnification.
        move: Downwards and to the right, as shares of height and width.
    """
    _, height, width = picture.shape
    cos, sin = math.cos(math.radians(degrees)) / zoom, math.sin(math.radians(degrees)) / zoom
    # Maps a place in the result to its place in the source, in units of half a side.
    across = [cos, -sin * height / width]
    down = [sin * width / height, cos]
    y, x = (-2 * share for share in move)
    matrix = [[*row, row[0] * x + row[1] * y] for row in (across, down)]
    grid = F.affine_grid(torch.tensor([matrix]), [1, 1, height, width], align_corners=False)
    return F.grid_sample(picture[None], grid, padding_mode="border", align_corners=False)[0]


def affine_matrix(size: tuple[int, int], degrees: float, zoom: float, move: tuple[float, float]) -> Tensor:
    """Returns where `affine` moves places (x, y) in pixels of a picture of so many rows and columns, (2, 3) float64."""
    height, width = size
    cos, sin = zoom * math.cos(math.radians(degrees)), zoom * math.sin(math.radians(degrees))
    y, x = (share * side for share, side in zip(move, size, strict=True))
    # About the centre, against the clock with y downwards; then moved.
    rows = [[cos, sin, width / 2 + x], [-sin, cos, height / 2 + y]]
    centre = torch.tensor([width / 2, height / 2], dtype=torch.float64)
    matrix = torch.tensor(rows, dtype=torch.float64)
    matrix[:, 2] -= matrix[:, :2] @ centre
    return matrix


def adjust(picture: Tensor, brightness: float, contrast: float, saturation: float) -> Tensor:
    """Returns a picture (C, H, W) with factors on its pixels, on their distance from the mean, and from grey."""
    picture = picture * brightness
    picture = torch.lerp(picture.mean(), picture, contrast)
    return torch.lerp(picture.mean(0, keepdim=True), picture, saturation).clamp(0, 1)
