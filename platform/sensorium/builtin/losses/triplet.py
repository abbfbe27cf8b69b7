"""Triplet loss: each partner must be nearer than what does not belong, by a margin.

Shapes: B pairs of this worker, N pairs of all workers, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from sensorium.builtin.losses.blocks import PairLoss, Pairs, Tile


class Triplet(PairLoss):
    """Hinge on the hardest negative of the global batch, in both directions (VSE++).

    Faghri et al. 2018, eq. 6; with `hardest` off the sum over all negatives, eq. 5. The positive of
    a row is its own partner; pairs of one group are never negatives.
    """

    unit: ClassVar[str] = "cosine similarity"

    class Config(PairLoss.Config):
        """Which negatives count, and from where on."""

        margin: float = 0.2
        """Cosine similarity by which a partner must be nearer than a negative."""

        hardest: bool = True
        """Whether the nearest negative counts alone; else all add up, which is a gentler start."""

        def __post_init__(self) -> None:
            if not 0 <= self.margin < math.inf:
                raise ValueError("The margin must not be negative.")

    config: Triplet.Config

    def __init__(self, config: Triplet.Config) -> None:
        super().__init__(config)

    def evaluate(self, pairs: Pairs, wanted: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the mean loss and the gradients of a and b."""
        # What a similarity must exceed to cost something, for each of the N pairs.
        floor = torch.linalg.vecdot(*pairs.every) - self.config.margin
        compute = _hardest if self.config.hardest else _all
        loss, violations, gradients = compute(pairs, floor, wanted)
        samples = max(len(pairs), 1)
        if not wanted:
            return loss / samples, ()
        for gradient, partner in zip(gradients, reversed(pairs.own), strict=True):
            gradient.addcmul_(violations[:, None], partner, value=-1).div_(samples)
        return loss / samples, gradients


def _hardest(pairs: Pairs, floor: Tensor, wanted: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Returns the summed loss, the violations of each pair (B,), the gradients through negatives."""
    own = slice(pairs.start, pairs.start + len(pairs))
    highest = [rows.new_full((len(pairs),), -math.inf) for rows in pairs.own]
    chosen = [torch.zeros_like(pairs.groups[own]) for _ in pairs.own]

    def keep(side: int, rows: slice, columns: slice, tile: Tensor) -> None:
        value, place = tile.max(1)
        better = value > highest[side][rows]
        highest[side][rows] = value.where(better, highest[side][rows])
        chosen[side][rows] = (place + columns.start).where(better, chosen[side][rows])

    for side in pairs.sides:
        for rows, columns, tile in pairs.tiles(side):
            tile.masked_fill_(pairs.positives(rows, columns), -math.inf)
            keep(side, rows, columns, tile)
            if pairs.alone:
                keep(1, columns, rows, tile.T)

    costs = [(each - floor[own]).relu_() for each in highest]
    gradients = [torch.zeros_like(rows) for rows in pairs.own] if wanted else []
    for side in range(2) if wanted else ():
        hit = pairs.gather(costs[side]) > 0
        place = pairs.gather(chosen[side])
        gradients[side].add_(pairs.every[1 - side][chosen[side]] * (costs[side] > 0)[:, None])
        # Rows of any worker whose hardest negative is one of ours.
        hit &= (place >= own.start) & (place < own.stop)
        ours = (place - own.start).clamp(0, len(pairs) - 1)
        gradients[1 - side].index_add_(0, ours, pairs.every[side] * hit[:, None])
    violations = costs[0].sign() + costs[1].sign()
    return (costs[0] + costs[1]).sum(), violations, gradients


def _all(pairs: Pairs, floor: Tensor, wanted: bool) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Returns the summed loss, the violations of each pair (B,), the gradients through negatives."""
    own = slice(pairs.start, pairs.start + len(pairs))
    loss = floor.new_zeros(())
    violations = torch.zeros_like(floor[own])

    def slopes(side: int) -> Iterator[Tile]:
        for rows, columns, tile in pairs.tiles(side):
            tile.masked_fill_(pairs.positives(rows, columns), -math.inf)
            here = (tile - floor[own][rows, None]).relu_()
            there = tile.sub_(floor[columns]).relu_()
            loss.add_(here.sum())
            violations[rows] += here.sign_().sum(1)
            if pairs.alone:
                loss.add_(there.sum())
                violations[columns] += there.sign().sum(0)
            yield rows, columns, there.sign_().add_(here)

    if wanted:
        return loss, violations, pairs.gradients(slopes)
    for side in pairs.sides:
        for _ in slopes(side):
            pass
    return loss, violations, []
