"""Pictures painted of embeddings: a U-Net that tells picture from noise, how it learns, and how samples are drawn.

Ramesh et al. 2022, section 2.1: the embedding is added to that of the time, and four tokens made of it are
attended to beside the places of the picture. The U-Net is that of P. Dhariwal, A. Nichol, Diffusion Models
Beat GANs on Image Synthesis, NeurIPS 2021, with one halving.

Shapes: B samples, C channels of the picture, H rows, W columns, S channels of the embeddings' space, D of a feature.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Config
from sensorium.ops.diffusion import Diffusion, guided, waves

TOKENS = 4
"""Tokens made of the embedding."""
GROUPS = 8
"""Groups of channels that are normalised together."""


class UNet(nn.Module):
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

    def __init__(self, config: UNet.Config, channels: int, space: int, steps: int) -> None:
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


class Sampler:
    """Draws samples of a diffusion, from numbers that follow from each sample.

    Args:
        diffusion: Its schedule.
        ancestral: DDPM, with fresh noise at each step, rather than DDIM.
    """

    def __init__(self, diffusion: Diffusion, ancestral: bool) -> None:
        self.diffusion, self.ancestral = diffusion, ancestral

    def __call__(
        self, denoise: Callable[[Tensor, Tensor], Tensor], batch: Batch, name: str, shape: Sequence[Any], count: int
    ) -> Tensor:
        """Returns (B, *shape), drawn in `count` steps; other ones for another name."""

        def fresh(turn: int) -> Tensor:
            return batch.normal(f"{name}, step {turn}", *shape)

        start = batch.normal(name, *shape)
        return self.diffusion.sample(denoise, start, count, fresh if self.ancestral else None)


def steered(network: Callable[..., Tensor], scale: float, value: Tensor, time: Tensor, *told: Any) -> Tensor:
    """Returns what a network finds with its condition, moved away from what it finds without."""
    yes = torch.ones(value.shape[0], dtype=torch.bool, device=value.device)
    known = network(value, time, *told, yes)
    return known if scale == 1 else guided(known, network(value, time, *told, ~yes), scale)


def velocities(
    network: Callable[..., Tensor], diffusion: Diffusion, image: Tensor, embedding: Tensor, known: Tensor, batch: Batch
) -> dict[str, Tensor]:
    """Returns the `velocity` of noised pictures, and what a network finds of it (`found`), (B, C, H, W) each.

    Args:
        network: Such as a `UNet`.
        diffusion: How noise comes in.
        image: Pictures (B, C, H, W) from -1 to 1.
        embedding: What the network is told, (B, S).
        known: (B,), False where it is told nothing.
        batch: The samples, from which time and noise follow.
    """
    time, noise = diffusion.times(batch.uniform("time")), batch.normal("noise", *image.shape[1:])
    found = network(diffusion.noised(image, time, noise), time, embedding, known)
    return {"velocity": diffusion.velocity(image, time, noise), "found": found}


def velocity_error(outputs: Any) -> Tensor:
    """Returns the squared error of the velocity (B,) (Salimans and Ho 2022, appendix D)."""
    return F.mse_loss(outputs["found"], outputs["velocity"], reduction="none").mean((1, 2, 3))


def denoiser(
    network: Callable[..., Tensor], diffusion: Diffusion, guidance: float, embedding: Tensor
) -> Callable[[Tensor, Tensor], Tensor]:
    """Returns what `Sampler` asks for: (value, time) -> the clean picture, from -1 to 1, of an embedding (B, S)."""

    def denoise(value: Tensor, time: Tensor) -> Tensor:
        velocity = steered(network, guidance, value, time, embedding)
        return diffusion.clean(value, time, velocity).clamp(-1, 1)

    return denoise
