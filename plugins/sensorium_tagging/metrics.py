"""How many of the pictures that are found for a tag have it.

Shapes: N samples of a split, C tags.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent


class TagPrecision(Metric):
    """Precision among the first ten pictures that are found for a tag, the mean over the tags.

    Rows: `scores.<name>` and `truth.<name>` (N, C). Of a tag that fewer than ten pictures have, as many are looked at
    as have it; tags that none has do not count. Ties count against the model.
    """

    needs = ("scores", "truth")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{name}_p10` (fraction of 1).

        Raises:
            UserError: There are no scores.
        """
        names = [name.removeprefix("scores.") for name in rows if name.startswith("scores.")]
        if not names:
            raise absent("tag_precision", "scores.<name> and truth.<name>", rows)
        return {f"{name}_p10": precision(rows[f"scores.{name}"], rows[f"truth.{name}"] > 0, 10) for name in names}


def precision(scores: Tensor, truth: Tensor, most: int) -> float:
    """Returns the mean over the tags of the precision among the first `most` pictures."""
    found = []
    for column, has in zip(scores.T.double(), truth.T, strict=True):
        count = min(most, int(has.sum()))
        if count:
            wrong = column[~has].sort(descending=True).values
            right = column[has].sort(descending=True).values
            above = torch.searchsorted(-wrong, -right, right=True)  # wrong ones that score as high at least
            found.append(int((torch.arange(len(right)) + above < count).sum()) / count)
    return sum(found) / len(found) if found else float("nan")
