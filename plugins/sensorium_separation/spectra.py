"""Complex spectrograms, their compression by a power, and masks on them.

The network works on compressed spectrograms |X|^p exp(i arg X), p = 0.3 (Ephrat et al. 2018, 3.2);
a mask multiplies the compressed mixture, so that no gradient passes through a power near 0.

Shapes: B mixtures, N speakers, S samples, F bins, T frames.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TINY = 1e-8
"""Magnitude below which nothing is divided by."""


class Spectra:
    """The transform of one length of sound and back.

    Args:
        n_fft: Samples of a window.
        hop: Samples from one window to the next.
        power: p.
    """

    def __init__(self, n_fft: int, hop: int, power: float) -> None:
        self.n_fft, self.hop, self.power = n_fft, hop, power
        self.bins = n_fft // 2 + 1

    def compressed(self, wave: Tensor) -> Tensor:
        """Returns the compressed spectrogram (..., F, T), complex, of sounds (..., S)."""
        samples = wave.shape[-1]
        missing = (frames(samples, self.hop) - 1) * self.hop - samples
        flat = F.pad(wave.reshape(-1, samples), (0, max(0, missing)))
        spectrum = torch.stft(flat, self.n_fft, self.hop, window=self._window(wave), return_complex=True)
        spectrum = spectrum.view(*wave.shape[:-1], *spectrum.shape[1:])
        return spectrum * spectrum.abs().clamp(min=TINY) ** (self.power - 1)

    def sound(self, compressed: Tensor, samples: int) -> Tensor:
        """Returns the sounds (..., S) of compressed spectrograms (..., F, T)."""
        # The magnitude without its root: the gradient of abs() at 0 is none.
        size = compressed.real.square() + compressed.imag.square()
        spectrum = compressed * (size + TINY**2) ** ((1 / self.power - 1) / 2)
        flat = spectrum.reshape(-1, *spectrum.shape[-2:])
        wave = torch.istft(flat, self.n_fft, self.hop, window=self._window(flat.real), length=samples)
        return wave.view(*compressed.shape[:-2], samples)

    def _window(self, like: Tensor) -> Tensor:
        return torch.hann_window(self.n_fft, device=like.device)


def frames(samples: int, hop: int) -> int:
    """Returns T of so many samples: the middle of the last window is the multiple of the hop nearest to their end.

    Were it always the one before, the end could lie where a window is almost 0, and so what is divided by to go back.
    """
    return 1 + (samples + (hop - 1) // 2) // hop


def ratio_mask(mixture: Tensor, voices: Tensor, power: float) -> Tensor:
    """Returns the ideal ratio mask (B, N, F, T): each speaker's share of the energy, for compressed mixtures.

    Args:
        mixture: Compressed, (B, F, T).
        voices: Compressed, (B, N, F, T).
        power: p of the compression.
    """
    energy = voices.abs() ** (2 / power)
    share = energy / energy.sum(1, keepdim=True).clamp(min=TINY)
    return share ** (power / 2)


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
