"""How well scores put what is right above what is wrong.

Shapes: N scores of one kind, M of the other.
"""

from __future__ import annotations

import torch
from torch import Tensor


def auc(right: Tensor, wrong: Tensor) -> float:
    """Returns how often one of `right` (N,) scores above one of `wrong` (M,); ties count half."""
    wins = ranks(torch.cat([right, wrong]))[: len(right)].sum() - len(right) * (len(right) + 1) / 2
    return float(wins / (len(right) * len(wrong)))


def spearman(one: Tensor, other: Tensor) -> float:
    """Returns Spearman's rank correlation of two lists (N,), from -1 to 1; 0 where all values of one are equal."""
    centred = [places - places.mean() for places in (ranks(one), ranks(other))]
    spread = torch.stack([each.norm() for each in centred]).prod()
    return float((centred[0] * centred[1]).sum() / spread) if spread > 0 else 0.0


def ranks(values: Tensor) -> Tensor:
    """Returns the place of each value (N,) from the smallest, 1; where several are equal, the mean of theirs."""
    _, place, counts = values.double().unique(return_inverse=True, return_counts=True)
    places: Tensor = (counts.cumsum(0) - (counts.double() - 1) / 2)[place]
    return places
