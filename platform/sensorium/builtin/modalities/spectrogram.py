"""Views of a waveform in time and frequency.

Shapes: C channels, T samples of a waveform or frames of a spectrogram, F frequency bins.
"""

from __future__ import annotations

import io
from typing import Any

import torch
import torchaudio.functional
import torchaudio.transforms as transforms
from PIL import Image as Pillow
from torch import Generator, Tensor, nn

DYNAMIC_RANGE = 80.0
"""Decibels below the loudest value of a clip at which `log_mel` has its floor."""


def view(config: Any) -> nn.Module:
    """Returns the transform from a waveform (C, T) to what the options of `Audio` ask for."""
    if config.view == "waveform":
        return nn.Identity()
    options = {
        "n_fft": config.n_fft,
        "hop_length": config.hop_length,
        "power": float(config.power),
        "window_fn": {"hann": torch.hann_window, "hamming": torch.hamming_window}[config.window],
    }
    if config.view == "spectrogram":
        return nn.Sequential(transforms.Spectrogram(**options))
    steps: list[nn.Module] = [transforms.MelSpectrogram(config.sample_rate, n_mels=config.n_mels, **options)]
    if config.view != "mel":
        scale = {1: "magnitude", 2: "power"}[config.power]
        steps.append(transforms.AmplitudeToDB(scale, DYNAMIC_RANGE))
    if config.view == "mfcc":
        steps.append(Cosine(config.n_mfcc, config.n_mels))
    if config.view == "log_mel" and not config.standardise:
        steps.append(Scale(config.mean, config.std))
    if config.view != "mel" and config.standardise:
        steps.append(Standardise((0, 1, 2) if config.view == "log_mel" else (0, 2)))
    return nn.Sequential(*steps)


def described(config: Any) -> list[dict[str, Any]]:
    """Returns the steps of `view` in words and numbers that JSON holds."""
    if config.view == "waveform":
        return []
    steps: list[dict[str, Any]] = [
        {"step": "lengthen", "samples": config.n_fft, "about": "Silence at the end of what is shorter."},
        {
            "step": "spectrogram",
            "n_fft": config.n_fft,
            "hop_length": config.hop_length,
            "window": config.window,
            "power": config.power,
            "about": "Magnitudes to this power of torch.stft: periodic window, centred, the ends reflected.",
        },
    ]
    if config.view != "spectrogram":
        about = "Triangles of height 1 on the scale of HTK, from 0 Hz to half the sample rate."
        steps.append({"step": "mel", "bands": config.n_mels, "sample_rate": config.sample_rate, "about": about})
    if config.view in ("log_mel", "mfcc"):
        about = "factor * log10(max(x, least)), and nothing further below the loudest of the clip than the range."
        factor = {1: 20, 2: 10}[config.power]
        steps.append({"step": "decibels", "factor": factor, "least": 1e-10, "range": DYNAMIC_RANGE, "about": about})
    if config.view == "mfcc":
        steps.append({"step": "cosine", "coefficients": config.n_mfcc, "about": "Orthonormal DCT-II along the bands."})
    if config.view == "log_mel" and not config.standardise:
        steps.append({"step": "normalise", "mean": config.mean, "std": config.std, "about": "(x - mean) / std."})
    if config.view in ("log_mel", "mfcc") and config.standardise:
        of = "of the clip" if config.view == "log_mel" else "of each coefficient"
        steps.append({"step": "standardise", "least": 1e-5, "about": f"Mean 0 and deviation 1 {of}; no Bessel."})
    return steps


class Cosine(nn.Module):
    """Orthonormal DCT-II along the bins: log-mel (C, F, T) -> cepstrum (C, K, T)."""

    def __init__(self, coefficients: int, bins: int) -> None:
        super().__init__()
        self.matrix: Tensor = torchaudio.functional.create_dct(coefficients, bins, "ortho").T

    def forward(self, picture: Tensor) -> Tensor:
        """Returns the cepstral coefficients."""
        return self.matrix @ picture


class Scale(nn.Module):
    """Less a level, over a deviation, both in dB."""

    def __init__(self, mean: float, std: float) -> None:
        super().__init__()
        self.mean, self.std = mean, std

    def forward(self, picture: Tensor) -> Tensor:
        """Returns the levels so scaled."""
        return (picture - self.mean) / self.std


class Standardise(nn.Module):
    """Mean 0 and deviation 1 over the given dimensions of (C, F, T); a constant becomes 0."""

    def __init__(self, dims: tuple[int, ...]) -> None:
        super().__init__()
        self.dims = dims

    def forward(self, picture: Tensor) -> Tensor:
        """Returns the standardised spectrogram."""
        deviation, mean = torch.std_mean(picture, self.dims, correction=0, keepdim=True)
        return (picture - mean) / deviation.clamp(min=1e-5)


def masked(picture: Tensor, shares: tuple[float, float], random: Generator) -> Tensor:
    """Returns (C, F, T) with one band and one stretch set to the mean (SpecAugment, Park et al. 2019).

    Args:
        picture: (C, F, T).
        shares: Largest shares of bins and of frames; the actual ones are uniform from 0.
        random: Source of width and place.
    """
    for axis, share in enumerate(shares, start=1):
        if share:
            size, place = torch.rand(2, generator=random).tolist()
            width = round(size * share * picture.shape[axis])
            start = round(place * (picture.shape[axis] - width))
            chosen = torch.arange(start, start + width)
            picture = picture.index_fill(axis, chosen, float(picture.mean()))
    return picture


def png(picture: Tensor, logarithm: bool) -> bytes:
    """Returns (C, F, T) as a grey PNG from its lowest to its highest value, low bins below, channels stacked."""
    if logarithm:
        picture = picture.clamp(min=1e-10).log10()
    low, high = picture.aminmax()
    grey = (picture - low) / (high - low).clamp(min=1e-10) * 255
    buffer = io.BytesIO()
    Pillow.fromarray(grey.flip(1).flatten(0, 1).round().byte().numpy()).save(buffer, "PNG")
    return buffer.getvalue()
