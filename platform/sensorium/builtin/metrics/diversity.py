"""How unlike one another the pictures are that a task makes of one thing.

Shapes: N samples of a split, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Sequence
from itertools import pairwise

import torch
from torch import Tensor

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent


class Diversity(Metric):
    """Mean difference of a pixel between two pictures made of one thing, over that of real pictures of it.

    Rows: `apart` (N,), how far apart two made pictures are; `real` (N, C, H, W); `group`.
    """

    needs = ("apart", "real", "group")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `diversity`: 0 where all are alike, 1 where they differ as real ones do.

        It is left out where no two real pictures of one group differ.

        Raises:
            UserError: A row is missing.
        """
        if not set(self.needs) <= set(rows):
            raise absent("diversity", ", ".join(self.needs), rows)
        real = apart(rows["real"], rows["group"].tolist())
        return {"diversity": float(rows["apart"].double().mean()) / real} if real else {}


def apart(pictures: Tensor, groups: Sequence[Hashable]) -> float | None:
    """Returns the mean difference of a pixel (N, C, H, W) between neighbours of one group; None if all are alone."""
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, group in enumerate(groups):
        members[group].append(index)
    pairs = [pair for found in members.values() for pair in pairwise(found)]
    if not pairs:
        return None
    one, other = torch.tensor(pairs).T
    return float((pictures[one] - pictures[other]).abs().mean())
