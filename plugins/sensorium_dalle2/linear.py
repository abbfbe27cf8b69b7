"""The best linear map from sentences to embeddings of pictures, and what it leaves open.

It is the prior's baseline, which no drawing of samples is needed for, and where the prior starts from.

Shapes: B samples, S channels of CLIP's space.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import workers
from sensorium.ops.diffusion import Diffusion

RIDGE = 1e-6
"""Added to the mean products of the sentences, so that few of them have a solution too; an error's variance below it is
rounding."""


class LeastSquares(nn.Module):
    """A linear map with an offset, and the covariance of its error.

    Until it is fitted it answers 0 and leaves nothing open.

    Args:
        space: S.

    Attributes:
        weight: (S + 1, S), the last row is the offset.
        spread: (S, S), columns point where the error goes, independently of one another, as long as its standard
            deviation there.
    """

    weight: Tensor
    spread: Tensor

    def __init__(self, space: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(space + 1, space))
        self.register_buffer("spread", torch.zeros(space, space))

    @torch.no_grad()
    def fit(self, pairs: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Fits it to the pairs of all workers, of which each gives its own.

        Args:
            pairs: Embeddings of sentences and of their pictures, (B, S) each.
        """
        size = len(self.weight)
        moments = torch.zeros(2 * size - 1, 2 * size - 1, dtype=torch.float64, device=self.weight.device)
        for sentence, image in pairs:
            joint = torch.cat([_extended(sentence), image], 1).double()
            moments += joint.T @ joint
        moments = workers.add(moments)
        moments = moments / moments[size - 1, size - 1]  # the square of the offset's column is the number of pairs
        inner, cross, outer = moments[:size, :size], moments[:size, size:], moments[size:, size:]
        weight = torch.linalg.solve(inner + RIDGE * torch.eye(size).to(inner), cross)
        explained = weight.T @ cross
        variance, axes = torch.linalg.eigh(outer - explained - explained.T + weight.T @ inner @ weight)
        self.weight.copy_(weight)
        self.spread.copy_(axes * variance.where(variance > RIDGE, 0).sqrt())

    def forward(self, sentence: Tensor) -> Tensor:
        """Returns the embedding (B, S) that the map expects of a picture."""
        return _extended(sentence) @ self.weight

    def posterior(self, diffusion: Diffusion, value: Tensor, time: Tensor, mean: Tensor) -> Tensor:
        """Returns the clean embedding (B, S) behind noise, if it lies around a mean as pictures around the map.

        Args:
            diffusion: The schedule.
            value: The noised embedding (B, S).
            time: (B,).
            mean: (B, S).
        """
        axes = F.normalize(self.spread, dim=0)
        expected = mean @ axes
        found = diffusion.posterior(value @ axes, time, expected, self.spread.square().sum(0))
        return mean + (found - expected) @ axes.T


def _extended(sentence: Tensor) -> Tensor:
    return torch.cat([sentence, sentence.new_ones(sentence.shape[0], 1)], 1)
