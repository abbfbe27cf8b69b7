"""The best linear map: what the voice encoder is compared with, and what reads drawn faces.

Shapes: B samples, S samples of sound, F bins, X channels of what is given, Y of what is expected.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Padded, workers
from sensorium.ops.spectra import Spectra


class LeastSquares(nn.Module):
    """A linear map with an offset. Until it is fitted it answers what it is given, as far as X and Y reach.

    Args:
        given: X.
        expected: Y.
        ridge: Added to the variances of what is given, as a share of their mean: few samples have a solution too.

    Attributes:
        weight: (X + 1, Y), the last row is the offset.
    """

    weight: Tensor

    def __init__(self, given: int, expected: int, ridge: float) -> None:
        super().__init__()
        self.register_buffer("weight", torch.eye(given + 1, expected))
        self.ridge, self._moments = ridge, torch.zeros(0)

    def begin(self) -> None:
        """Forgets the samples."""
        size = sum(self.weight.shape)
        self._moments = torch.zeros(size, size, dtype=torch.float64, device=self.weight.device)

    @torch.no_grad()
    def see(self, given: Tensor, expected: Tensor) -> None:
        """Takes samples in: (B, X) and (B, Y)."""
        joint = torch.cat([_extended(given), expected], 1).double()
        self._moments += joint.T @ joint

    @torch.no_grad()
    def fit(self, back: LeastSquares | None = None) -> None:
        """Fits the map to the samples of all workers.

        Args:
            back: Another one, from what is expected (Y) to what this one says of what is given (Y): it is fitted too.
        """
        moments, size = workers.add(self._moments), len(self.weight)
        weight = _solved(moments[:size, :size], moments[:size, size:], self.ridge)
        self.weight.copy_(weight)
        if back is not None:
            seen = [*range(size, len(moments)), size - 1]  # what was expected, and the offset
            back.weight.copy_(_solved(moments[seen][:, seen], moments[seen, :size] @ weight, back.ridge))
        self._moments = torch.zeros(0)

    def forward(self, given: Tensor) -> Tensor:
        """Returns what is expected (B, Y)."""
        return _extended(given) @ self.weight


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


def _solved(inner: Tensor, cross: Tensor, share: float) -> Tensor:
    """Returns the map of least squares by the moments of what is given, an offset last, and with what is expected."""
    count, sums = inner[-1, -1], inner[-1, :-1]
    spread = (inner.diagonal()[:-1] - sums.square() / count).mean()
    ridge = torch.eye(len(inner)).to(inner) * share * spread
    ridge[-1, -1] = 0  # the offset is free
    found: Tensor = torch.linalg.solve(inner + ridge, cross)
    return found


def _extended(given: Tensor) -> Tensor:
    return F.pad(given, (0, 1), value=1.0)
