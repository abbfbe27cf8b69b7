"""Gaussian diffusion: how noise comes into a value step by step, and how it is taken out again.

Time runs from 0, the clean value, to T, almost nothing but noise. `kept[t]` is the share of the clean
value's variance that is left at time t, which the papers call alpha-bar; kept[0] is 1.

    J. Ho, A. Jain, P. Abbeel, Denoising Diffusion Probabilistic Models, NeurIPS 2020
    A. Nichol, P. Dhariwal, Improved Denoising Diffusion Probabilistic Models, ICML 2021
    J. Song, C. Meng, S. Ermon, Denoising Diffusion Implicit Models, ICLR 2021
    T. Salimans, J. Ho, Progressive Distillation for Fast Sampling of Diffusion Models, ICLR 2022
    J. Ho, T. Salimans, Classifier-Free Diffusion Guidance, 2022

Shapes: B samples; a value is (B, ...), a time (B,) int64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

OFFSET = 0.008
"""Of the cosine schedule, so that the first steps add some noise (Nichol and Dhariwal, section 3.2)."""
LARGEST = 0.999
"""Largest share of the variance that a step takes away."""


class Diffusion:
    """The cosine schedule over some steps, and what follows from it.

    Args:
        steps: T.

    Attributes:
        kept: alpha-bar at the times 0 to T, (T + 1,).
    """

    def __init__(self, steps: int) -> None:
        if steps < 1:
            raise ValueError("steps is at least 1.")
        self.steps = steps
        angle = (torch.arange(steps + 1, dtype=torch.float64) / steps + OFFSET) / (1 + OFFSET) * math.pi / 2
        wanted = angle.cos().square()
        left = (wanted[1:] / wanted[:-1]).clamp(min=1 - LARGEST)  # 1 - beta of each step
        self.kept = torch.cat([torch.ones(1, dtype=torch.float64), left.cumprod(0)]).float()

    def times(self, uniform: Tensor) -> Tensor:
        """Returns times from 1 to T, (B,), for numbers from [0, 1)."""
        return (uniform * self.steps).long() + 1

    def noised(self, clean: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Returns what is left of a clean value at a time (Ho et al. 2020, equation 4)."""
        kept = self._kept(time, clean)
        return kept.sqrt() * clean + (1 - kept).sqrt() * noise

    def velocity(self, clean: Tensor, time: Tensor, noise: Tensor) -> Tensor:
        """Returns how the noised value moves as clean turns to noise: v of Salimans and Ho 2022, section 4."""
        kept = self._kept(time, clean)
        return kept.sqrt() * noise - (1 - kept).sqrt() * clean

    def clean(self, value: Tensor, time: Tensor, velocity: Tensor) -> Tensor:
        """Returns the clean value of a noised one whose velocity is known, at any time."""
        kept = self._kept(time, value)
        return kept.sqrt() * value - (1 - kept).sqrt() * velocity

    def posterior(self, value: Tensor, time: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Returns what the clean value of a noised one is in the mean, if clean values are normal.

        It is the mean itself where the variance is 0 or the value all noise, and the noised value where it is clean.

        Args:
            value: At `time`.
            time: Any.
            mean: Of clean values, (B, ...).
            variance: Of clean values around their mean, each channel by itself; of any shape that fits.
        """
        kept = self._kept(time, value)
        share = kept.sqrt() * variance / (kept * variance + 1 - kept).clamp(min=1e-12)
        return mean + share * (value - kept.sqrt() * mean)

    def step(self, value: Tensor, time: Tensor, to: Tensor, clean: Tensor, noise: Tensor, eta: float) -> Tensor:
        """Returns the value at an earlier time (Song et al. 2021, equations 12 and 16).

        Args:
            value: At `time`.
            time: Above `to`.
            to: The earlier time, 0 or more.
            clean: What the clean value is held to be.
            noise: Fresh normal numbers.
            eta: 0 for DDIM, which uses none of them; 1 for DDPM, with the variance of the posterior.
        """
        now, then = self._kept(time, value), self._kept(to, value)
        inside = (value - now.sqrt() * clean) / (1 - now).sqrt()
        spread = eta * ((1 - then) / (1 - now) * (1 - now / then)).sqrt()
        return then.sqrt() * clean + (1 - then - spread.square()).clamp(min=0).sqrt() * inside + spread * noise

    def sample(
        self,
        denoise: Callable[[Tensor, Tensor], Tensor],
        start: Tensor,
        count: int,
        fresh: Callable[[int], Tensor] | None = None,
    ) -> Tensor:
        """Returns clean values made of noise.

        Args:
            denoise: (value, time) -> what the clean value is held to be.
            start: Normal numbers (B, ...), the value at time T.
            count: Steps to take, T at most, evenly spread.
            fresh: Number of a step -> normal numbers (B, ...), for DDPM; None for DDIM.
        """
        stops = torch.linspace(self.steps, 0, min(count, self.steps) + 1).round().long().tolist()
        value = start
        for turn, (time, to) in enumerate(pairwise(stops)):
            now, then = (torch.full((value.shape[0],), at, device=value.device) for at in (time, to))
            noise = torch.zeros_like(value) if fresh is None else fresh(turn)
            value = self.step(value, now, then, denoise(value, now), noise, 0.0 if fresh is None else 1.0)
        return value

    def _kept(self, time: Tensor, value: Tensor) -> Tensor:
        return self.kept.to(value)[time].view(-1, *[1] * (value.ndim - 1))


def guided(known: Tensor, unknown: Tensor, scale: float) -> Tensor:
    """Returns a prediction moved away from the one without the condition; 1 leaves it (Ho and Salimans, equation 6)."""
    return unknown + scale * (known - unknown)


def waves(time: Tensor, steps: int, channels: int) -> Tensor:
    """Returns sines and cosines of a time at wave lengths from 2 pi T / 1000 up, (B, channels).

    Args:
        time: (B,).
        steps: T; time counts in thousandths of it.
        channels: An even number.
    """
    half = channels // 2
    speed = torch.exp(-math.log(10_000) * torch.arange(half, device=time.device) / half)
    angle = time[:, None] * (1000 / steps) * speed
    return torch.cat([angle.sin(), angle.cos()], 1)
