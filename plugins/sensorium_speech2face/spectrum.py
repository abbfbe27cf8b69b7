"""What is left of a voice when its moments are averaged.

Shapes: B clips, S samples, F bins.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Padded
from sensorium.ops.spectra import Spectra


def mean_spectrum(sound: Padded, n_fft: int) -> Tensor:
    """Returns the logarithm of the mean power in each bin (B, F), around its own mean: how loud it is does not count.

    Args:
        sound: Waveforms (B, 1, S).
        n_fft: Samples of a window; F is half of them and one.
    """
    # Silence at the end, and what stands for it in a batch, adds no power to any bin.
    wave = F.pad(sound.data[:, 0], (0, n_fft))
    power = Spectra(n_fft, n_fft // 4, 1.0).compressed(wave).abs().square().sum(2)
    level = (power + 1e-6 * power.mean(1, keepdim=True) + 1e-12).log()
    return level - level.mean(1, keepdim=True)
