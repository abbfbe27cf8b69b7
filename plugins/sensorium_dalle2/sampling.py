"""How samples are drawn: by DDIM or DDPM, with guidance, from numbers that follow from each sample.

Shapes: B samples, S channels of CLIP's space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch
from sensorium.ops.diffusion import Diffusion, guided


class Sampler:
    """Draws samples of a diffusion.

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
    yes = torch.ones(len(value), dtype=torch.bool, device=value.device)
    known = network(value, time, *told, yes)
    return known if scale == 1 else guided(known, network(value, time, *told, ~yes), scale)


def closest(candidates: Tensor, sentence: Tensor) -> Tensor:
    """Returns of some embeddings (B, N, S) the one closest to the sentence's (B, S), as (B, S)."""
    best = F.cosine_similarity(candidates, sentence[:, None], dim=2).argmax(1)
    return candidates[torch.arange(len(best), device=best.device), best]


def slerp(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Returns what lies between two rows of one length, on the arc from one to the other (section 3.2).

    Args:
        one: (B, S).
        other: (B, S).
        share: (B,), 0 for one and 1 for the other.
    """
    angle = F.cosine_similarity(one, other).clamp(-1 + 1e-6, 1 - 1e-6).acos()[:, None]
    share = share[:, None]
    return (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / angle.sin()
