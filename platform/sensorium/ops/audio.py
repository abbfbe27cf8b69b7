"""How much of a sound is what it should be, in dB, and sounds for spectrograms that have no phase.

Shapes: ... any leading dimensions, S samples, L taps of a filter, F bins and T frames of a spectrogram.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

FLOOR = 1e-8
"""Energy, as a share of the larger one, below which a part of a signal counts as this much."""
TAPS = 512
"""L of BSS Eval."""
MOMENTUM = 0.99
"""Share of the last change that Griffin and Lim's next step goes on by (Perraudin et al. 2013, section 4)."""


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Returns the scale-invariant signal-to-distortion ratio (...), in dB, from -80 to 80.

    J. Le Roux et al., SDR - half-baked or well done?, ICASSP 2019, equation 5; both have mean 0. Of
    silence the ratio is 0 dB, whatever the estimate; silence as the estimate of a sound has -80 dB.

    Args:
        estimate: (..., S).
        reference: (..., S).
    """
    estimate, blank = _centred(estimate)
    reference, silent = _centred(reference)
    energy = reference.square().sum(-1, keepdim=True)
    target = (estimate * reference).sum(-1, keepdim=True) / energy.clamp(min=1e-12) * reference
    distortion = (estimate - target).square().sum(-1)
    return _decibels(target.square().sum(-1), distortion, estimate.square().sum(-1), blank, silent)


@torch.no_grad()
def sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Returns the signal-to-distortion ratio of BSS Eval (...), in dB, without gradient; silence counts as in SI-SDR.

    What a filter of 512 taps makes of the reference is not a distortion (E. Vincent et al., Performance
    measurement in blind audio source separation, 2006, with the one source as its own subspace).

    Args:
        estimate: (..., S).
        reference: (..., S).
    """
    from scipy.linalg import solve_toeplitz  # type: ignore[import-untyped]

    estimate, reference = estimate.double(), reference.double()
    estimate, reference = _unit(estimate), _unit(reference)
    size = reference.shape[-1] + max(TAPS, reference.shape[-1])
    spectrum, other = torch.fft.rfft(reference, size), torch.fft.rfft(estimate, size)
    auto = torch.fft.irfft(spectrum.abs().square(), size)[..., :TAPS]
    cross = torch.fft.irfft(spectrum.conj() * other, size)[..., :TAPS]
    auto[..., 0] = auto[..., 0] * (1 + 1e-10) + 1e-20  # silence has no spectrum, and is to be solved all the same
    rows = zip(auto.reshape(-1, TAPS).cpu().numpy(), cross.reshape(-1, TAPS).cpu().numpy(), strict=True)
    explained = torch.tensor([float(right @ solve_toeplitz(left, right)) for left, right in rows])
    explained = explained.to(cross).view(cross.shape[:-1])
    whole = estimate.square().sum(-1)
    silent = reference.square().sum(-1) == 0
    return _decibels(explained, whole - explained, whole, whole == 0, silent).float()


@torch.no_grad()
def griffin_lim(magnitude: Tensor, window: Tensor, hop: int, steps: int = 32) -> Tensor:
    """Returns a sound (..., S) whose spectrogram has about these magnitudes; S = (T - 1) hop.

    D. Griffin, J. Lim, Signal Estimation from Modified Short-Time Fourier Transform, 1984, made faster by N. Perraudin,
    P. Balazs, P. Søndergaard, A Fast Griffin-Lim Algorithm, 2013. The first phases are random, but the same ones each
    time, so that a sound follows from its magnitudes alone.

    Args:
        magnitude: (..., F, T), F = n_fft / 2 + 1: magnitudes themselves, no powers or logarithms.
        window: (n_fft,), as it was analysed with, frames centred on their samples.
        hop: Samples from one frame to the next.
        steps: Iterations.
    """
    wide = magnitude.reshape(-1, *magnitude.shape[-2:]).float()
    turns = torch.rand(wide.shape[1:], generator=torch.Generator().manual_seed(0)).to(wide)
    phase = torch.polar(torch.ones_like(turns), 2 * torch.pi * turns).expand_as(wide)
    length = (wide.shape[2] - 1) * hop
    options: dict[str, Any] = {"n_fft": len(window), "hop_length": hop, "window": window}
    last = torch.zeros_like(phase)
    for _ in range(steps):
        sound = torch.istft(wide * phase, length=length, **options)
        found = torch.stft(sound, pad_mode="constant", return_complex=True, **options)
        ahead = found + MOMENTUM * (found - last)
        phase, last = ahead / ahead.abs().clamp(min=1e-12), found
    return torch.istft(wide * phase, length=length, **options).reshape(*magnitude.shape[:-2], length)


def _centred(sound: Tensor) -> tuple[Tensor, Tensor]:
    """Returns a sound (..., S) without its mean, and where nothing is left of it but rounding, (...)."""
    sound = _unit(sound)
    centred = sound - sound.mean(-1, keepdim=True)
    return centred, centred.square().sum(-1) <= 1e-12 * sound.square().sum(-1)


def _unit(sound: Tensor) -> Tensor:
    """Returns a sound (..., S) whose largest sample is 1: the ratios are the same, and no sound is too faint."""
    largest = sound.detach().abs().amax(-1, keepdim=True)
    return sound / torch.where(largest > 0, largest, 1.0)


def _decibels(signal: Tensor, distortion: Tensor, whole: Tensor, blank: Tensor, silent: Tensor) -> Tensor:
    """Returns the ratio; the lowest where the estimate is `blank`, 0 dB where the reference is `silent`."""
    floor = FLOOR * whole + 1e-20
    ratio = 10 * ((signal.clamp(min=0) + floor) / (distortion.clamp(min=0) + floor)).log10()
    # An estimate that is not a number stays so, of silence too.
    return ratio.masked_fill(blank, 10 * math.log10(FLOOR)).masked_fill(silent & ~ratio.isnan(), 0.0)
