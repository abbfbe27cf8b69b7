"""InfoNCE over the distances of unit vectors, in place of their cosines.

K. Sung-Bin, A. Senocak, H. Ha, A. Owens, T.-H. Oh, Sound to Visual Scene Generation by Audio-to-Visual Latent
Alignment, CVPR 2023, equation 1.

Shapes: B pairs of this worker, N pairs of all workers, D channels, R x C rows and columns of a tile.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sensorium import workers
from sensorium.builtin.losses.blocks import PairLoss, Pairs, Tile

NEAREST = 1e-3
"""Distance below which vectors count as this far apart; the gradient of a distance has no end at 0."""


class DistanceInfoNCE(PairLoss):
    """Symmetric cross-entropy over negative l2 distances: find the partner among all of the global batch.

    A row with several positives aims at all of them alike, as in `infonce`. The temperature stays as it is.
    """

    unit: ClassVar[str] = "nats"

    class Config(PairLoss.Config):
        """How sharply distances are told apart."""

        temperature: float = 0.3
        """Divisor of distances, which lie between 0 and 2; the authors have 1."""

        def __post_init__(self) -> None:
            if not 0 < self.temperature < math.inf:
                raise ValueError("temperature is above 0.")

    config: DistanceInfoNCE.Config

    def evaluate(self, pairs: Pairs, wanted: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the mean loss and the gradients of a and b."""
        scale = 1 / self.config.temperature
        counts = _counts(pairs)  # (N,), of the positives of each pair
        own = counts[pairs.start : pairs.start + len(pairs)]
        sums = [rows.new_full((len(pairs),), -math.inf) for rows in pairs.own]
        hits = torch.zeros_like(sums[0])  # of both directions
        for side in pairs.sides:
            for rows, columns, tile in pairs.tiles(side):
                logits = -scale * distances(tile)
                row, column = pairs.positives(rows, columns)
                right = logits[row, column]
                sums[side][rows] = torch.logaddexp(sums[side][rows], logits.logsumexp(1))
                hits[rows] = hits[rows].index_add(0, row, right / own[rows][row])
                if pairs.alone:
                    sums[1][columns] = torch.logaddexp(sums[1][columns], logits.logsumexp(0))
                    hits[columns] = hits[columns].index_add(0, column, right / own[columns][column])
        share = 2 * max(len(pairs), 1)
        loss = (sums[0] + sums[1] - hits).sum() / share
        if not wanted:
            return loss, ()
        every = [workers.gather_rows(each) for each in sums]

        def slopes(side: int) -> Iterator[Tile]:
            for rows, columns, tile in pairs.tiles(side):
                far = distances(tile)
                slope = (-scale * far - sums[side][rows, None]).exp() + (-scale * far - every[1 - side][columns]).exp()
                row, column = pairs.positives(rows, columns)
                slope[row, column] -= 2 / own[rows][row]
                # A distance is the root of 2 - 2 cosines, so that its derivative by the cosine is -1 / distance.
                yield rows, columns, slope.mul_(scale / share).div_(far)

        return loss, pairs.gradients(slopes)


def distances(cosines: Tensor) -> Tensor:
    """Returns the l2 distances of unit vectors that have these inner products."""
    return (2 - 2 * cosines).clamp(min=NEAREST**2).sqrt()


def _counts(pairs: Pairs) -> Tensor:
    """Returns how many pairs share the group of each pair, itself included, (N,)."""
    _, group, counts = pairs.groups.unique(return_inverse=True, return_counts=True)
    found: Tensor = counts[group].to(pairs.own[0].dtype)
    return found
