"""Triplets: a picture's tag lies nearer than a tag that it does not have, and than a picture without the tag.

Shapes: B pictures of this worker, N pictures of all workers, C tags, P pairs of a picture and a tag that it has.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import workers


def triplets(scores: Tensor, truth: Tensor, margin: float, hardest: bool) -> Tensor:
    """Returns what each pair costs, (P,): the hinges of its negatives, in both directions.

    R. Kiros et al., Unifying Visual-Semantic Embeddings with Multimodal Neural Language Models, 2014, eq. 15, which
    adds up all negatives; F. Faghri et al., VSE++, BMVC 2018, eq. 6, which takes the hardest alone. Another picture
    with the tag, and another tag of the picture, are never negatives.

    Args:
        scores: Cosines of pictures and tags, (N, C).
        truth: Which tags a picture has, (N, C) bool.
        margin: Cosine by which what belongs must lie nearer.
        hardest: Whether the nearest negative counts alone, else all add up.
    """
    picture, tag = truth.nonzero(as_tuple=True)
    own = scores[picture, tag, None]
    tags = F.relu(margin + scores[picture] - own).masked_fill(truth[picture], 0.0)  # (P, C)
    pictures = F.relu(margin + scores.T[tag] - own).masked_fill(truth.T[tag], 0.0)  # (P, N)
    if hardest:
        return tags.amax(1) + pictures.amax(1)
    return tags.sum(1) + pictures.sum(1)


def mean_triplet(scores: Tensor, truth: Tensor, margin: float, hardest: bool) -> Tensor:
    """Returns the mean over the pairs of the global batch, of `scores` and `truth` of this worker, (B, C)."""
    every, has = together(scores), workers.gather_rows(truth.to(scores.dtype)) > 0
    costs = triplets(every, has, margin, hardest)
    return costs.sum() / max(len(costs), 1)


def together(rows: Tensor) -> Tensor:
    """Returns the rows of all workers, (N, ...), with the gradient of this worker's own.

    A scalar that every worker computes of them is a term of a loss. The engine weighs a worker's term by B / N and adds
    the gradients up; each row has its gradient from its own worker alone, which is therefore N / B times as large.
    """
    if workers.size() == 1:
        return rows
    every = workers.gather_rows(rows)
    ranks = workers.gather_rows(torch.full((len(rows),), workers.rank(), device=rows.device))
    own = rows.detach() + (rows - rows.detach()) * (len(every) / len(rows))
    before, after = every[ranks < workers.rank()], every[ranks > workers.rank()]
    return torch.cat([before, own, after])
