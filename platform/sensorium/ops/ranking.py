"""How well scores put what is right above what is wrong.

Shapes: N scores of one kind, M of the other.
"""

from __future__ import annotations

import torch
from torch import Tensor


def auc(right: Tensor, wrong: Tensor) -> float:
    """Returns how often one of `right` (N,) scores above one of `wrong` (M,); ties count half."""
    order = torch.cat([right, wrong]).double()
    _, place, counts = order.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[place]  # from 1, the mean where several are equal
    wins = ranks[: len(right)].sum() - len(right) * (len(right) + 1) / 2
    return float(wins / (len(right) * len(wrong)))
