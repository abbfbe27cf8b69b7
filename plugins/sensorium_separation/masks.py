"""Masks that need no network: the ideal ones, made from the truth, and the gate, which reads the two mouths.

A mask multiplies the compressed mixture, as the network's does, so that all are measured by the same code.

Shapes: B mixtures, N speakers, F bins, T frames of the spectrogram, V frames and H, W pixels of the video, K gates.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium.ops.spectra import TINY, expanded

SLOPES = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
"""How steeply a gate may turn from one speaker to the other, in deviations of what is seen of the mouths."""


def ratio_mask(voices: Tensor, power: float) -> Tensor:
    """Returns the ideal ratio mask (B, N, F, T): the root of each speaker's share of the energy.

    Args:
        voices: Compressed, (B, N, F, T).
        power: p of the compression.
    """
    energy = voices.abs() ** (2 / power)
    share = energy / energy.sum(1, keepdim=True).clamp(min=TINY)
    return share ** (power / 2)


def binary_mask(voices: Tensor) -> Tensor:
    """Returns the ideal binary mask (B, N, F, T): each bin goes to the speaker who is louder in it.

    Args:
        voices: Compressed, (B, N, F, T).
    """
    loud = voices.abs()
    return (loud == loud.amax(1, keepdim=True)).to(loud)


def complex_mask(mixture: Tensor, voices: Tensor, bound: float) -> Tensor:
    """Returns the ideal complex ratio mask (B, N, F, T), each part of it clamped to [-bound, bound].

    Args:
        mixture: Compressed, (B, F, T).
        voices: Compressed, (B, N, F, T).
        bound: Of real and imaginary part.
    """
    whole = mixture[:, None]
    mask = voices * whole.conj() / whole.abs().square().clamp(min=TINY)
    return torch.complex(mask.real.clamp(-bound, bound), mask.imag.clamp(-bound, bound))


def frame_mask(mixture: Tensor, voices: Tensor, power: float) -> Tensor:
    """Returns the ideal gate (B, N, 1, T): of all gains a frame, the ones with the least squared error.

    Args:
        mixture: Compressed, (B, F, T).
        voices: Compressed, (B, N, F, T).
        power: p of the compression.
    """
    whole, parts = expanded(mixture, power)[:, None], expanded(voices, power)
    shared = (parts * whole.conj()).real.sum(2, keepdim=True)
    gain = shared / whole.abs().square().sum(2, keepdim=True).clamp(min=TINY)
    return gain.clamp(0, 1) ** power


def darkness(video: Tensor) -> Tensor:
    """Returns how dark the middle columns of each frame are, (B, V), for a mouth: how far it is open.

    Args:
        video: (B, V, C, H, W).
    """
    width = video.shape[-1]
    return -video[..., 3 * width // 8 : max(-(-5 * width // 8), 1)].mean((2, 3, 4))


def gates(mouths: Tensor, power: float) -> Tensor:
    """Returns gains a frame that follow from which mouth is open wider, (B, K, 2, 1, T).

    They differ in their slope, and in whether each mouth is compared with itself at its lightest first. Nothing is
    learnt: which gate is best is looked up in what it reaches.

    Args:
        mouths: Darkness of both in each frame of the spectrogram, (B, 2, T).
        power: p of the compression.
    """
    found = []
    for seen in (mouths, mouths - mouths.amin(2, keepdim=True)):
        ahead = (seen - seen.flip(1)) / seen.std((1, 2), keepdim=True).clamp(min=TINY)
        found += [torch.sigmoid(slope * ahead) ** power for slope in SLOPES]
    return torch.stack(found, 1)[..., None, :]
