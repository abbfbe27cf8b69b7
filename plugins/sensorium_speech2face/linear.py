"""The best linear map from one vector to another: what the voice encoder is compared with, and what reads faces.

Shapes: B samples, X channels of what is given, Y of what is expected.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import workers

RIDGE = 1e-3
"""Added to the variances of what is given, as a share of their mean, so that few samples have a solution too."""


class LeastSquares(nn.Module):
    """A linear map with an offset. Until it is fitted it answers 0.

    Attributes:
        weight: (X + 1, Y), the last row is the offset.
    """

    weight: Tensor

    def __init__(self, given: int, expected: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(given + 1, expected))
        self._moments = torch.zeros(0)

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
    def fit(self) -> None:
        """Fits the map to the samples of all workers."""
        moments, size = workers.add(self._moments), len(self.weight)
        inner, cross = moments[:size, :size], moments[:size, size:]
        count, sums = inner[-1, -1], inner[-1, :-1]
        spread = (inner.diagonal()[:-1] - sums.square() / count).mean()
        ridge = torch.full((size,), float(RIDGE), dtype=torch.float64, device=inner.device) * spread
        ridge[-1] = 0  # the offset is free
        self.weight.copy_(torch.linalg.solve(inner + ridge.diag(), cross))
        self._moments = torch.zeros(0)

    def forward(self, given: Tensor) -> Tensor:
        """Returns what is expected (B, Y)."""
        return _extended(given) @ self.weight


def _extended(given: Tensor) -> Tensor:
    return torch.cat([given, given.new_ones(len(given), 1)], 1)
