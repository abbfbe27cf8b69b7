"""Shapes of a mouth as a few numbers (PCA), and the best linear filter from sound to shapes.

Both follow from sums over the training set, of which each worker adds up its share.

Shapes: N frames, L = 40 coordinates of a mouth, K coefficients, D numbers of a step, W steps of a window.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from sensorium import workers

COORDINATES = 40
LEAST = 1e-4
"""Variance, as a share of the largest, below which a component is noise, and is left out."""
RIDGE = 1e-3
"""Share of the variance that is added to each input of the filter."""


class Shapes(nn.Module):
    """Mouths and their coefficients, each of unit variance over the training set; those left out are 0.

    Args:
        components: K.
        inputs: W D, of the filter.
    """

    mean: Tensor
    components: Tensor
    kept: Tensor
    deviations: Tensor
    filter: Tensor
    bias: Tensor

    def __init__(self, components: int, inputs: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(COORDINATES))
        self.register_buffer("components", torch.eye(components, COORDINATES))
        self.register_buffer("kept", torch.ones(components))
        self.register_buffer("deviations", torch.ones(components))
        self.register_buffer("filter", torch.zeros(inputs, COORDINATES))
        self.register_buffer("bias", torch.zeros(COORDINATES))

    def coefficients(self, mouths: Tensor) -> Tensor:
        """Returns (..., K) of mouths (..., 20), complex."""
        return (flat(mouths) - self.mean) @ self.components.T / self.deviations * self.kept

    def mouths(self, coefficients: Tensor) -> Tensor:
        """Returns mouths (..., 20), complex, of coefficients (..., K)."""
        return torch.view_as_complex(self.coordinates(coefficients).unflatten(-1, (-1, 2)).contiguous())

    def coordinates(self, coefficients: Tensor) -> Tensor:
        """Returns mouths of coefficients (..., K) as x and y in turn, (..., L)."""
        scaled = coefficients.float() * self.deviations * self.kept
        return scaled @ self.components + self.mean

    def filtered(self, windows: Tensor) -> Tensor:
        """Returns what the linear filter makes of windows (..., W D): mouths (..., 20)."""
        return torch.view_as_complex((windows @ self.filter + self.bias).unflatten(-1, (-1, 2)).contiguous())

    def fit(self, mean: Tensor, covariance: Tensor) -> None:
        """Takes over what mean and covariance of windows and mouths over the training set say."""
        inputs = len(self.filter)
        shape, spread = mean[inputs:], covariance[inputs:, inputs:]
        variances, vectors = torch.linalg.eigh(spread)
        count = len(self.components)
        variances, vectors = variances.flip(0)[:count], vectors.flip(1)[:, :count]
        # An eigenvector's sign is any. That of its first large coordinate is made positive: of its largest one would
        # not do, since mouths are the same on both sides, and rounding would choose.
        large = vectors.abs() > 0.9 * vectors.abs().amax(0)
        first = vectors.gather(0, large.int().argmax(0, keepdim=True))
        kept = variances > LEAST * variances[0]
        self.mean.copy_(shape)
        self.components.copy_((vectors * first.sign() * kept).T)  # the others point anywhere, by rounding
        self.deviations.copy_(torch.where(kept, variances, 1.0).sqrt())
        self.kept.copy_(kept)
        scale = covariance.diagonal()[:inputs].clamp(min=1e-12).sqrt()
        inner = covariance[:inputs, :inputs] / scale / scale[:, None]
        inner = inner + RIDGE * torch.eye(inputs, dtype=inner.dtype, device=inner.device)
        weights = torch.linalg.solve(inner, covariance[:inputs, inputs:] / scale[:, None]) / scale[:, None]
        self.filter.copy_(weights)
        self.bias.copy_(shape - mean[:inputs] @ weights)


class Sums:
    """Sums over frames, of what is heard around each and of its mouth, and of their products."""

    def __init__(self, inputs: int, device: torch.device) -> None:
        size = 1 + inputs + COORDINATES
        self.products = torch.zeros(size, size, dtype=torch.float64, device=device)

    def add(self, windows: Tensor, mouths: Tensor) -> None:
        """Adds frames: windows (N, W D), and mouths (N, 20), complex."""
        rows = torch.cat([windows.new_ones(len(windows), 1), windows, flat(mouths)], 1).double()
        self.products += rows.T @ rows

    def moments(self) -> tuple[Tensor, Tensor]:
        """Returns mean and covariance over the frames of all workers."""
        products = workers.add(self.products)
        mean = products[0, 1:] / products[0, 0]
        return mean, products[1:, 1:] / products[0, 0] - mean[:, None] * mean


def flat(mouths: Tensor) -> Tensor:
    """Returns mouths (..., 20) as x and y in turn, (..., L)."""
    return torch.view_as_real(mouths).flatten(-2)
