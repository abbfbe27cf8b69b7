"""Embeddings that were drawn: which of several is taken, and what lies between two.

Shapes: B samples, S channels of CLIP's space.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def closest(candidates: Tensor, sentence: Tensor) -> Tensor:
    """Returns of some embeddings (B, N, S) the one closest to the sentence's (B, S), as (B, S)."""
    best = F.cosine_similarity(candidates, sentence[:, None], dim=2).argmax(1)
    return candidates[torch.arange(best.shape[0], device=best.device), best]


def slerp(one: Tensor, other: Tensor, share: Tensor) -> Tensor:
    """Returns what lies between two rows of one length, on the arc from one to the other (section 3.2).

    Args:
        one: (B, S).
        other: (B, S).
        share: (B,), 0 for one and 1 for the other.
    """
    angle = F.cosine_similarity(one, other).clamp(-1 + 1e-6, 1 - 1e-6).acos()[:, None]
    share = share[:, None]
    return (((1 - share) * angle).sin() * one + (share * angle).sin() * other) / angle.sin()
