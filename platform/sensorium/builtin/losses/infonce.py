"""InfoNCE: find the partner of a row among all rows of the global batch.

Shapes: B pairs of this worker, N pairs of all workers, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from sensorium.builtin.losses.blocks import PairLoss, Pairs, Tile

LARGEST_SCALE = 100.0


class InfoNCE(PairLoss):
    """Symmetric cross-entropy over similarities, as CLIP is trained.

    van den Oord et al. 2018, eq. 4, in both directions with a learnt temperature as in Radford et
    al. 2021, fig. 3. A row with several positives aims at all of them alike: Khosla et al. 2020,
    eq. 2, its own partner included. The inverse temperature stays at or below 100.
    """

    unit: ClassVar[str] = "nats"

    class Config(PairLoss.Config):
        """How sharply similarities are told apart."""

        temperature: float = 0.07
        """Divisor of cosine similarities, at the start when it is learnt; at least 0.01."""

        learnable: bool = True
        """Whether the temperature is trained."""

        def __post_init__(self) -> None:
            if not 1 / LARGEST_SCALE <= self.temperature < math.inf:
                raise ValueError(f"The temperature must be at least {1 / LARGEST_SCALE}.")

    config: InfoNCE.Config
    log_scale: Tensor

    def __init__(self, config: InfoNCE.Config) -> None:
        super().__init__(config)
        log_scale = torch.tensor(-math.log(config.temperature))
        if config.learnable:
            self.log_scale = nn.Parameter(log_scale)
        else:
            self.register_buffer("log_scale", log_scale)

    def evaluate(self, pairs: Pairs, wanted: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the mean loss and the gradients of a, b and, where it is learnt, the scale."""
        # Clamped in place, as CLIP does: a clamp inside the formula would stop its gradient for good.
        scale = self.log_scale.clamp_(max=math.log(LARGEST_SCALE)).exp()
        sums = _log_sums(pairs, scale)
        aims = [_partners(pairs, 1), _partners(pairs, 0)]
        hits = [torch.linalg.vecdot(rows, aim) for rows, aim in zip(pairs.own, aims, strict=True)]
        share = 2 * max(len(pairs), 1)
        loss = (sums[0] + sums[1] - scale * (hits[0] + hits[1])).sum() / share
        if not wanted:
            return loss, ()
        every = [pairs.gather(each) for each in sums]

        def slopes(side: int) -> Iterator[Tile]:
            for rows, columns, tile in pairs.tiles(side):
                there = (tile.mul_(scale) - every[1 - side][columns]).exp_()
                yield rows, columns, tile.sub_(sums[side][rows, None]).exp_().add_(there)

        gradients = pairs.gradients(slopes)
        for gradient, aim in zip(gradients, aims, strict=True):
            gradient.sub_(aim, alpha=2).mul_(scale / share)
        # The loss knows a and the scale by their product alone, so that one gives the other's.
        by_scale = torch.linalg.vecdot(pairs.own[0], gradients[0]).sum()
        return loss, [*gradients, by_scale][: 2 + self.config.learnable]


def _log_sums(pairs: Pairs, scale: Tensor) -> list[Tensor]:
    """Returns log sum exp of the logits of each own row of a and of b, (B,) each."""
    sums = [rows.new_full((len(pairs),), -math.inf) for rows in pairs.own]
    for side in pairs.sides:
        for rows, columns, tile in pairs.tiles(side):
            sums[side][rows] = torch.logaddexp(sums[side][rows], tile.mul_(scale).logsumexp(1))
            if pairs.alone:
                sums[1][columns] = torch.logaddexp(sums[1][columns], tile.logsumexp(0))
    return sums


def _partners(pairs: Pairs, field: int) -> Tensor:
    """Returns the mean row of a (field 0) or b (field 1) over each own pair's group, (B, D)."""
    group, counts = pairs.of_groups()
    sums = torch.zeros_like(pairs.every[field])
    sums.index_add_(0, group, pairs.every[field]).div_(counts.clamp(min=1)[:, None])
    return sums[group[pairs.start : pairs.start + len(pairs)]]
