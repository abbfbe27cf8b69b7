"""How well pictures and recipes find each other.

Rows that they read: `embedding.<input>` (N, D) of two inputs, of unit length, and what each says.

Shapes: N samples of a split, G of a gallery. Ties count against the model.
"""

from __future__ import annotations

from itertools import permutations

import torch
from torch import Tensor

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent
from sensorium.builtin.metrics.retrieval import Items, ranks

NEAR = 10
"""Neighbours that are looked at for their class."""
EQUAL = 1e-6
"""Cosines that differ by less are equal: sums in another order."""


class Galleries(Metric):
    """Recall and median rank in galleries drawn at random, the means over them (Salvador et al. 2017, section 5.2).

    Rows: embeddings and `group` (N,), equal for equal dishes.
    """

    needs = ("embedding", "group")

    class Config(Metric.Config):
        """The galleries."""

        size: int = 1000
        """G, pairs of a gallery; a smaller split is one gallery."""
        count: int = 10
        """Galleries."""

        def __post_init__(self) -> None:
            if self.size < 1 or self.count < 1:
                raise ValueError("size and count are at least 1.")

    def __init__(self, config: Galleries.Config) -> None:
        super().__init__(config)
        self.size, self.count = config.size, config.count

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{a}_to_{b}_r1_of_{G}`, `_r5`, `_r10` (fractions of 1) and `_median_rank`.

        Raises:
            UserError: Fewer than two inputs are embedded.
        """
        spaces, groups = _spaces(rows, "galleries"), rows["group"].tolist()
        total, metrics = len(groups), {}
        size = min(self.size, total)
        random = torch.Generator().manual_seed(0)
        drawn = [torch.randperm(total, generator=random)[:size] for _ in range(self.count if size < total else 1)]
        for a, b in permutations(spaces, 2):
            found = []
            for some in drawn:
                members = [{groups[place]} for place in some.tolist()]
                found.append(ranks(Items(spaces[a][some], members), Items(spaces[b][some], members)).double())
            of_galleries = torch.stack(found)
            for k in (1, 5, 10):
                metrics[f"{a}_to_{b}_r{k}_of_{size}"] = (of_galleries <= k).double().mean().item()
            metrics[f"{a}_to_{b}_median_rank_of_{size}"] = of_galleries.quantile(0.5, dim=1).mean().item()
        return metrics


class ClassConsistency(Metric):
    """Share of the ten nearest of the other modality that have the class of what is looked for.

    Rows: embeddings and `of_class` (N,) int64, below 0 for a sample without a class, which neither asks nor is found.
    The partner itself is not counted.
    """

    needs = ("embedding", "of_class")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{a}_to_{b}_consistency` for both directions (fractions of 1).

        Raises:
            UserError: There are no classes, or fewer than two inputs are embedded.
        """
        if "of_class" not in rows:
            raise absent("class_consistency", "of_class", rows)
        spaces, named = _spaces(rows, "class_consistency"), rows["of_class"] >= 0
        classes = rows["of_class"][named]
        metrics = {}
        for a, b in permutations(spaces, 2):
            cosines = (spaces[a][named].double() @ spaces[b][named].double().T).float().fill_diagonal_(-torch.inf)
            near = cosines.topk(min(NEAR, max(len(classes) - 1, 0))).indices
            same = (classes[near] == classes[:, None]).double()
            metrics[f"{a}_to_{b}_consistency"] = same.mean().item()
        return metrics


class OrderAlone(Metric):
    """Share of dishes that lie nearer to their recipe than to one that differs in the order of its steps alone.

    Rows: embeddings, `id`, and `sample.twin`, the id of the sample that differs in the order alone. Equal cosines count
    half: who cannot tell is right half of the time.
    """

    needs = ("embedding", "sample.twin")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{a}_order` for what is given, the other modality being chosen from (fractions of 1).

        Raises:
            UserError: The samples name no twins, or fewer than two inputs are embedded.
        """
        if "sample.twin" not in rows:
            raise absent("order_alone", "sample.twin", rows)
        spaces = _spaces(rows, "order_alone")
        place = {name: index for index, name in enumerate(rows["id"])}
        pairs = [(index, place[twin]) for index, twin in enumerate(rows["sample.twin"]) if twin in place]
        own, twin = torch.tensor(pairs, dtype=torch.int64).view(-1, 2).unbind(1)
        metrics = {}
        for a, b in permutations(spaces, 2):
            asked = spaces[a][own].double()
            ahead = (asked * (spaces[b][own].double() - spaces[b][twin].double())).sum(1)
            right = (ahead > EQUAL).double() + 0.5 * (ahead.abs() <= EQUAL).double()
            metrics[f"{a}_order"] = right.mean().item()
        return metrics


def _spaces(rows: Rows, metric: str) -> dict[str, Tensor]:
    """Returns the embeddings by input."""
    spaces = {name.removeprefix("embedding."): rows[name] for name in rows if name.startswith("embedding.")}
    if len(spaces) < 2:
        raise absent(metric, "embedding.<input> for two inputs", rows)
    return spaces
