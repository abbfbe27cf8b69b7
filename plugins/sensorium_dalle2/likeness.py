"""How like real embeddings those are that were drawn of the same sentences.

A mean has the best cosine of all, but samples are to lie around it as real ones do.

Shapes: N samples of a split, S channels of CLIP's space.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sensorium.ops.ranking import auc

FOLDS = 5
"""Parts of the samples; each is judged by what the others teach."""
RIDGE = 0.05
"""Added to each variance that the classifier finds, as a share of the real embeddings' mean variance."""


def spread(embeddings: Tensor, sentences: Sequence[str]) -> float | None:
    """Returns the deviation of embeddings (N, S) around the mean of their sentence; None if each sentence is alone.

    It is the root of the trace of the covariance within sentences, which is estimated without bias.
    """
    numbers = {sentence: number for number, sentence in enumerate(dict.fromkeys(sentences))}
    of = torch.tensor([numbers[sentence] for sentence in sentences])
    if len(of) == len(numbers):
        return None
    sums = torch.zeros(len(numbers), embeddings.shape[1], dtype=torch.float64)
    means = sums.index_add(0, of, embeddings.double()) / of.bincount()[:, None]
    return float(((embeddings - means[of]).square().sum() / (len(of) - len(numbers))).sqrt())


def told(drawn: Tensor, real: Tensor, expected: Tensor) -> float | None:
    """Returns how well a classifier tells drawn embeddings from real ones; None if there are too few to learn from.

    The classifier is told the sentence by what a linear map expects of it. It takes the differences of either kind
    to be normal, with means and covariances that it learns from the other folds (quadratic discriminant analysis).

    Args:
        drawn: (N, S).
        real: (N, S), of the same sentences.
        expected: (N, S).

    Returns:
        The mean area under the curve over the folds: 0.5 if they cannot be told, 1 if each is told.
    """
    if len(real) < 2 * FOLDS:
        return None
    fold = torch.arange(len(real)) % FOLDS
    kinds = [(each - expected).double() for each in (drawn, real)]
    ridge = RIDGE * float(kinds[1].var(0).mean())
    found = []
    for part in range(FOLDS):
        as_drawn, as_real = (_normal(each[fold != part], ridge) for each in kinds)
        scores = [as_drawn(each[fold == part]) - as_real(each[fold == part]) for each in kinds]
        found.append(auc(*scores))
    return sum(found) / FOLDS


def _normal(values: Tensor, ridge: float) -> Callable[[Tensor], Tensor]:
    """Returns the log density, but for a constant, of the normal distribution that values (N, S) suggest."""
    mean, inside = values.mean(0), ridge * torch.eye(values.shape[1], dtype=values.dtype)
    root = torch.linalg.cholesky(values.T.cov() + inside)
    volume: Tensor = root.diagonal().log().sum()

    def density(asked: Tensor) -> Tensor:
        white: Tensor = torch.linalg.solve_triangular(root, (asked - mean).T, upper=False)
        return -white.square().sum(0) / 2 - volume

    return density
