"""Vectors of words by counting: a decomposition of how much more often words meet than by chance.

After O. Levy, Y. Goldberg, I. Dagan, Improving Distributional Similarity with Lessons Learned from Word Embeddings,
TACL 2015: positive pointwise mutual information, with smoothed contexts, and the roots of the singular values.

Shapes: V words, D channels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def counted(near: Tensor, dim: int, power: float) -> Tensor:
    """Returns vectors (V, D).

    Args:
        near: How often a word stands near another one, (V, V).
        dim: D; what is above V stays 0.
        power: What the frequencies of neighbours are raised to.
    """
    total = near.sum().clamp(min=1)
    words, contexts = near.sum(1), near.sum(0) ** power
    expected = words[:, None] * (contexts / contexts.sum().clamp(min=1e-9))[None]
    information = torch.where(near > 0, (near / expected.clamp(min=1e-9)).log(), torch.zeros(())).clamp(min=0)
    del expected, total
    rank = min(dim, len(near))
    with torch.random.fork_rng([]):
        torch.manual_seed(0)  # the decomposition begins at random
        left, values, _ = torch.svd_lowrank(information, rank, niter=4)
    vectors = information.new_zeros(len(near), dim)
    vectors[:, :rank] = left * values.sqrt()
    return vectors
