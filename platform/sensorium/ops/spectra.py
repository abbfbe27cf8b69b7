"""Complex spectrograms, compressed by a power, and the way back to sound.

Networks work on compressed spectrograms |X|^p exp(i arg X), p = 0.3 (A. Ephrat et al., Looking to Listen at the
Cocktail Party, SIGGRAPH 2018, section 3.2), in which faint parts of speech weigh as much as loud ones.

Shapes: ... any leading dimensions, S samples, F bins, T frames.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn import functional as F

Count = TypeVar("Count", int, Tensor)
TINY = 1e-8
"""Magnitude below which nothing is divided by."""
WINDOWS: dict[str, Callable[..., Tensor]] = {"hann": torch.hann_window, "hamming": torch.hamming_window}
"""Shapes of windows."""


class Spectra:
    """The transform of one length of sound and back.

    Args:
        n_fft: Samples of the Fourier transform.
        hop: Samples from one window to the next.
        power: p.
        window: Shape of the window, `hann` or `hamming`.
        win_length: Samples of the window, with zeros on either side up to `n_fft`; None takes all.
    """

    def __init__(self, n_fft: int, hop: int, power: float, window: str = "hann", win_length: int | None = None) -> None:
        self.n_fft, self.hop, self.power = n_fft, hop, power
        self.window, self.win_length = WINDOWS[window], win_length or n_fft
        self.bins = n_fft // 2 + 1

    def compressed(self, wave: Tensor) -> Tensor:
        """Returns the compressed spectrogram (..., F, T), complex, of sounds (..., S)."""
        samples = wave.shape[-1]
        missing = (frames(samples, self.hop) - 1) * self.hop - samples
        flat = F.pad(wave.reshape(-1, samples), (0, max(0, missing)))
        spectrum = torch.stft(
            flat, self.n_fft, self.hop, self.win_length, window=self._window(wave), return_complex=True
        )
        spectrum = spectrum.view(*wave.shape[:-1], *spectrum.shape[1:])
        return spectrum * spectrum.abs().clamp(min=TINY) ** (self.power - 1)

    def sound(self, compressed: Tensor, samples: int) -> Tensor:
        """Returns the sounds (..., S) of compressed spectrograms (..., F, T)."""
        spectrum = expanded(compressed, self.power)
        flat = spectrum.reshape(-1, *spectrum.shape[-2:])
        wave = torch.istft(flat, self.n_fft, self.hop, self.win_length, window=self._window(flat.real), length=samples)
        return wave.view(*compressed.shape[:-2], samples)

    def _window(self, like: Tensor) -> Tensor:
        return self.window(self.win_length, device=like.device)


def frames(samples: Count, hop: int) -> Count:
    """Returns T of so many samples: the middle of the last window is the multiple of the hop nearest to their end.

    Were it always the one before, the end could lie where a window is almost 0, and so what is divided by to go back.
    """
    return 1 + (samples + (hop - 1) // 2) // hop


def expanded(compressed: Tensor, power: float) -> Tensor:
    """Returns the spectrogram (..., F, T) that was compressed by a power."""
    # The magnitude without its root: the gradient of abs() at 0 is none.
    size = compressed.real.square() + compressed.imag.square()
    return compressed * (size + TINY**2) ** ((1 / power - 1) / 2)
