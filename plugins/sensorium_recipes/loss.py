"""Cosine loss: pairs that belong together lie close, others do not.

Shapes: B pairs of this worker, N pairs of all workers, D channels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sensorium.builtin.losses.blocks import PairLoss, Pairs, Tile


class Cosine(PairLoss):
    """1 - cosine of partners, and what the cosine of others exceeds a margin by.

    A. Salvador et al., Learning Cross-modal Embeddings for Cooking Recipes and Food Images, CVPR 2017, eq. 1. Others
    are all pairs of the global batch; pairs of one group are never others.
    """

    unit: ClassVar[str] = "cosine similarity"

    class Config(PairLoss.Config):
        """How far apart is far enough, and how much others weigh."""

        margin: float = 0.1
        """Cosine from which on a pair of others costs something."""
        others: float = 0.8
        """Share of the loss that pairs of others have, all together; the rest is that of partners."""

        def __post_init__(self) -> None:
            if not -1 <= self.margin < 1 or not 0 < self.others < 1:
                raise ValueError("margin lies in [-1, 1), others in (0, 1).")

    config: Cosine.Config

    def __init__(self, config: Cosine.Config) -> None:
        super().__init__(config)

    def evaluate(self, pairs: Pairs, wanted: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the mean loss and the gradients of a and b."""
        own = torch.linalg.vecdot(*pairs.own)
        samples, together = max(len(pairs), 1), 1 - self.config.others
        count = self._others(pairs)
        # The engine takes the mean over workers, weighed by their samples: N / B is taken off by that.
        share = self.config.others / count.clamp(min=1) * len(pairs.groups) / samples
        loss = together * (1 - own).sum() / samples

        def slopes(side: int) -> Iterator[Tile]:
            for rows, columns, tile in pairs.tiles(side):
                tile.masked_fill_(pairs.positives(rows, columns), -1.0).sub_(self.config.margin).relu_()
                if side == 0:
                    loss.add_(tile.sum() * share)
                yield rows, columns, tile.sign_()

        if not wanted:
            for _ in slopes(0):
                pass
            return loss, ()
        gradients = pairs.gradients(slopes)
        for gradient, partner in zip(gradients, reversed(pairs.own), strict=True):
            gradient.mul_(share).add_(partner, alpha=-together / samples)
        return loss, gradients

    @staticmethod
    def _others(pairs: Pairs) -> Tensor:
        """Returns how many pairs of others there are in the global batch."""
        _, counts = pairs.of_groups()
        return len(pairs.groups) ** 2 - counts.square().sum()
