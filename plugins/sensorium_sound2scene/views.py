"""Two views of one thing: moved, turned, in other colours, with noise. What both have in common is what it shows.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton, A Simple Framework for Contrastive Learning of Visual Representations,
ICML 2020, section 3. It does for spectrograms too, of which brightness is loudness.

Shapes: B samples, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch.nn import functional as F

from sensorium import Batch, Config, Padded


class Views(Config):
    """How far two views lie apart."""

    shift: float = 0.08
    """Largest move along each axis, as a share of the side."""
    zoom: float = 0.1
    """Largest change of scale, as a share."""
    rotate: float = 15.0
    """Largest rotation either way, in degrees."""
    colour: float = 1.0
    """Share of each channel that becomes a random mixture of all."""
    brightness: float = 0.4
    """Largest change of what lies above the darkest value, as a share."""
    noise: float = 0.1
    """Deviation of the noise, as a share of the deviation of what is seen."""

    def __post_init__(self) -> None:
        if not all(0 <= each < 1 for each in (self.shift, self.zoom, self.brightness)) or not 0 <= self.colour <= 1:
            raise ValueError("shift, zoom, colour and brightness lie between 0 and 1.")
        if self.noise < 0:
            raise ValueError("noise is at least 0.")


def viewed(value: Any, views: Views, batch: Batch, name: str) -> Any:
    """Returns another view of pictures (B, C, H, W) or padded spectrograms; another one for another name."""
    if isinstance(value, Padded):
        return Padded(viewed(value.data, views, batch, name) * value.mask[:, None, None], value.mask)
    draws = 2 * batch.uniform(name, 5).to(value) - 1
    angle = math.radians(views.rotate) * draws[:, 0]
    scale = 1 + views.zoom * draws[:, 1]
    turned = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    moved = 2 * views.shift * draws[:, 2:4, None]
    theta = torch.cat([turned * scale[:, None, None], moved], 2)
    grid = F.affine_grid(theta, list(value.shape), align_corners=False)
    seen = F.grid_sample(value, grid, padding_mode="border", align_corners=False)
    darkest = seen.amin((1, 2, 3), keepdim=True)
    gain = 1 + views.brightness * draws[:, 4, None, None, None]
    mixture = batch.uniform(f"{name}, colour", value.shape[1], value.shape[1]).to(value)
    mixture = (1 - views.colour) * torch.eye(value.shape[1]).to(value) + views.colour * F.normalize(mixture, 1, 2)
    spread = seen.flatten(1).std(1)[:, None, None, None]
    noise = batch.normal(f"{name}, noise", *value.shape[1:]).to(value)
    return darkest + torch.einsum("bdc,bchw->bdhw", mixture, seen - darkest) * gain + views.noise * spread * noise
