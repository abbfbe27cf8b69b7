"""The decoder: a U-Net that tells picture from noise, told CLIP's embedding of the picture.

Ramesh et al. 2022, section 2.1: the embedding is added to that of the time, and four tokens made of it are
attended to beside the places of the picture. The U-Net is that of P. Dhariwal, A. Nichol, Diffusion Models
Beat GANs on Image Synthesis, NeurIPS 2021, with one halving.

Shapes: B samples, C channels of the picture, H rows, W columns, S channels of CLIP's space, D of a feature.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config
from sensorium.ops.diffusion import waves

TOKENS = 4
"""Tokens made of the embedding."""
GROUPS = 8
"""Groups of channels that are normalised together."""


class Decoder(nn.Module):
    """Predicts the velocity: noise and picture, weighted by how much there is of the other.

    Args:
        config: Sizes.
        channels: C.
        space: S.
        steps: Of the diffusion.
    """

    class Config(Config):
        """Sizes, and how samples are drawn."""

        width: int = 32
        """Channels at the picture's full size, a multiple of 8; there are twice as many at half the size."""
        sampled: int = 10
        """Steps back when a picture is drawn."""
        guidance: float = 3.0
        """How far a sample is moved away from what is found without an embedding; 1 for not at all."""

        def __post_init__(self) -> None:
            if self.width < GROUPS or self.width % GROUPS or self.sampled < 1:
                raise ValueError(f"width is a multiple of {GROUPS}, sampled at least 1.")

    def __init__(self, config: Decoder.Config, channels: int, space: int, steps: int) -> None:
        super().__init__()
        width = config.width
        self.steps, self.width, inner = steps, width, 2 * width
        hidden = 4 * width
        self.time = nn.Sequential(nn.Linear(width, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.nothing = nn.Parameter(0.02 * torch.randn(space))
        self.embedding = nn.Sequential(nn.Linear(space, hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.tokens = nn.Linear(space, TOKENS * inner)
        self.stem = nn.Conv2d(channels, width, 3, padding=1)
        self.before = Residual(width, width, hidden)
        self.halve = nn.Conv2d(width, inner, 3, stride=2, padding=1)
        self.down, self.attend, self.up = (
            Residual(inner, inner, hidden),
            Attention(inner),
            Residual(inner, inner, hidden),
        )
        self.grow = nn.Conv2d(inner, width, 3, padding=1)
        self.after = Residual(2 * width, width, hidden)
        self.paint = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), nn.Conv2d(width, channels, 3, padding=1))

    def forward(self, noised: Tensor, time: Tensor, embedding: Tensor, known: Tensor) -> Tensor:
        """Returns the velocity (B, C, H, W).

        Args:
            noised: (B, C, H, W).
            time: (B,).
            embedding: (B, S), of variance about 1 in each channel.
            known: (B,), False where nothing is told of the picture.
        """
        embedding = torch.where(known[:, None], embedding, self.nothing)
        told = self.time(waves(time, self.steps, self.width)) + self.embedding(embedding)
        tokens = self.tokens(embedding).unflatten(1, (TOKENS, -1))
        full = self.before(self.stem(noised), told)
        half = self.attend(self.down(self.halve(full), told), tokens)
        half = self.up(half, told)
        grown = self.grow(F.interpolate(half, size=full.shape[2:]))
        velocity: Tensor = self.paint(self.after(torch.cat([full, grown], 1), told))
        return velocity


class Residual(nn.Module):
    """Two convolutions added to their input; between them it is scaled and shifted by what is told."""

    def __init__(self, before: int, after: int, told: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.GroupNorm(GROUPS, before), nn.SiLU(), nn.Conv2d(before, after, 3, padding=1))
        self.norm = nn.GroupNorm(GROUPS, after)
        self.steer = nn.Linear(told, 2 * after)
        self.second = nn.Conv2d(after, after, 3, padding=1)
        self.skip = nn.Identity() if before == after else nn.Conv2d(before, after, 1)

    def forward(self, grid: Tensor, told: Tensor) -> Tensor:
        """Returns (B, D, H, W)."""
        gain, bias = self.steer(F.silu(told))[:, :, None, None].chunk(2, 1)
        inner = self.norm(self.first(grid)) * (1 + gain) + bias
        changed: Tensor = self.skip(grid) + self.second(F.silu(inner))
        return changed


class Attention(nn.Module):
    """Each place attends to all places and to tokens from elsewhere."""

    def __init__(self, dim: int, heads: int = 4) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, dim)
        self.query, self.key_value, self.output = nn.Linear(dim, dim), nn.Linear(dim, 2 * dim), nn.Linear(dim, dim)

    def forward(self, grid: Tensor, tokens: Tensor) -> Tensor:
        """Returns (B, D, H, W) from grid (B, D, H, W) and tokens (B, 4, D)."""
        places = self.norm(grid).flatten(2).transpose(1, 2)
        joint = self.key_value(torch.cat([places, tokens], 1))
        query, key, value = (
            each.unflatten(2, (self.heads, -1)).transpose(1, 2) for each in (self.query(places), *joint.chunk(2, 2))
        )
        mixed = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        changed: Tensor = grid + self.output(mixed).transpose(1, 2).unflatten(2, grid.shape[2:])
        return changed
