"""Sounds made louder and put together, on their log-mel spectrograms.

Shapes: B samples, C channels, F mel bands, T frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sensorium import Padded


@dataclass(frozen=True)
class Level:
    """How levels in dB are written in a spectrogram.

    Attributes:
        mean: Level that is written as 0.
        std: Decibels that are written as 1.
    """

    mean: float
    std: float

    def amplified(self, sound: Padded, gain: Tensor | float) -> Padded:
        """Returns spectrograms (B, C, F, T) of sounds that are louder by so many dB: a number, or (B, 1, 1, 1)."""
        return replace(sound, data=sound.data + gain / self.std)

    def together(self, one: Padded, other: Padded) -> Padded:
        """Returns the spectrograms of two sounds at once: their powers add up, which is the mean over all phases."""
        powers = [torch.pow(10, (each.data * self.std + self.mean) / 10) for each in (one, other)]
        return Padded((10 * (powers[0] + powers[1]).log10() - self.mean) / self.std, one.mask | other.mask)
