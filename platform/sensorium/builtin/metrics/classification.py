"""How often classes and tags are right.

Names of the rows that they read, which a task's `rows` gives:

    logits.<name>       (N, C)
    target.<name>       (N,) int64, the right class; below 0 for one that has no logit
    scores.<name>       (N, C), of tags, each by itself
    truth.<name>        (N, C), 1 where a tag is true, else 0

Shapes: N samples, C classes. Ties count against the model, as in `retrieval`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent
from sensorium.builtin.metrics.retrieval import wrong_above


class Accuracy(Metric):
    """Share of samples whose right class scores highest, and among the first five of more than ten."""

    needs = ("logits", "target")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{name}_accuracy`, and `{name}_top5_accuracy` when C > 10 (fractions of 1).

        Raises:
            UserError: There are no logits.
        """
        names = [name.removeprefix("logits.") for name in rows if name.startswith("logits.")]
        if not names:
            raise absent("accuracy", "logits.<name> and target.<name>", rows)
        metrics = {}
        for name in names:
            logits, target = rows[f"logits.{name}"], rows[f"target.{name}"]
            known = target >= 0  # others have a class that the training split did not
            right = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, target.clamp(min=0)[:, None], True)
            above = wrong_above(logits, right).where(known, logits.shape[1])
            metrics[f"{name}_accuracy"] = (above < 1).double().mean().item()
            if logits.shape[1] > 10:
                metrics[f"{name}_top5_accuracy"] = (above < 5).double().mean().item()
        return metrics


class AveragePrecision(Metric):
    """How far the samples with a tag come before those without it, the mean over the tags (mAP).

    For one tag it is the mean, over the samples that have it, of the precision among those that
    score at least as high. Tags that no sample has do not count.
    """

    needs = ("scores", "truth")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{name}_average_precision` (fraction of 1).

        Raises:
            UserError: There are no scores.
        """
        names = [name.removeprefix("scores.") for name in rows if name.startswith("scores.")]
        if not names:
            raise absent("average_precision", "scores.<name> and truth.<name>", rows)
        metrics = {}
        for name in names:
            columns = zip(rows[f"scores.{name}"].T, rows[f"truth.{name}"].T > 0, strict=True)
            of_tags = [_average_precision(scores, truth) for scores, truth in columns if truth.any()]
            metrics[f"{name}_average_precision"] = sum(of_tags) / len(of_tags) if of_tags else float("nan")
        return metrics


def _average_precision(scores: Tensor, truth: Tensor) -> float:
    scores = scores.nan_to_num(nan=-torch.inf)
    right, wrong = scores[truth].sort().values, scores[~truth].sort().values
    above = len(right) - torch.searchsorted(right, right, right=False)  # of the right ones, itself included
    others = len(wrong) - torch.searchsorted(wrong, right, right=False)
    return float((above / (above + others)).double().mean())
