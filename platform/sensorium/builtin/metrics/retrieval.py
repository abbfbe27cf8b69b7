"""How well one field of a split finds another.

Names of the rows that they read, which a task's `rows` gives:

    embedding.<field>   (N, D), unit-length rows
    key.<field>         list of N strings, equal for equal raw values: an image listed with five
                        captions has one key
    group               (N,) int64, equal for samples that describe the same thing

Shapes: N samples, Q queries, G items of the gallery, D channels.

Ties count against the model: whatever scores as high as what is right comes before it. A model that
gives the same score to everything is thus the worst, not by chance a good one. The same goes for
scores that are not numbers.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import torch
from torch import Tensor

from sensorium import Metric, Rows
from sensorium.builtin.metrics.absent import absent

BLOCK, GALLERY = 512, 16_384
"""Queries, and items of the gallery, whose scores are in memory at once, however many there are of both."""


class Retrieval(Metric):
    """Recall at 1, 5 and 10 and median rank, for each ordered pair of embedded fields.

    Queries and gallery are the distinct values of the two fields. What shares a group with the query
    is right, and the rank is that of the best right item, so that of five captions of an image any
    counts: the protocol of A. Karpathy, L. Fei-Fei, Deep Visual-Semantic Alignments, CVPR 2015,
    section 4.1.
    """

    needs = ("embedding", "key", "group")

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{a}_to_{b}_r1`, `_r5`, `_r10` (fractions of 1) and `_median_rank` (1 is best).

        Raises:
            UserError: Fewer than two fields are embedded.
        """
        fields = [name.removeprefix("embedding.") for name in rows if name.startswith("embedding.")]
        if len(fields) < 2:
            raise absent("retrieval", "embedding.<field> for two fields", rows)
        groups = rows["group"].tolist()
        items = {name: distinct(rows[f"embedding.{name}"], rows[f"key.{name}"], groups) for name in fields}
        metrics = {}
        for a, b in permutations(fields, 2):
            found = ranks(items[a], items[b]).double()
            for k in (1, 5, 10):
                metrics[f"{a}_to_{b}_r{k}"] = (found <= k).double().mean().item()
            metrics[f"{a}_to_{b}_median_rank"] = found.quantile(0.5).item()
        return metrics


@dataclass(frozen=True)
class Items:
    """The distinct values of a field: embeddings (G, D), and the groups that each occurs in."""

    embeddings: Tensor
    groups: Sequence[set[int]]


def distinct(embeddings: Tensor, keys: Sequence[str], groups: Sequence[int]) -> Items:
    """Returns the first embedding of each key, and the union of its samples' groups."""
    first: dict[str, int] = {}
    members: defaultdict[str, set[int]] = defaultdict(set)
    for index, (key, group) in enumerate(zip(keys, groups, strict=True)):
        first.setdefault(key, index)
        members[key].add(group)
    return Items(embeddings[list(first.values())], [members[key] for key in first])


def ranks(queries: Items, gallery: Items) -> Tensor:
    """Returns the rank of the best right item for each query, (Q,) int64, from 1."""
    starts = range(0, len(gallery.groups), GALLERY)
    parts = [_members(gallery.groups[start : start + GALLERY]) for start in starts]
    return torch.cat(
        [
            _ranks(
                queries.embeddings[start : start + BLOCK].double(),
                _members(queries.groups[start : start + BLOCK]),
                gallery.embeddings.split(GALLERY),
                parts,
            )
            for start in range(0, len(queries.groups), BLOCK)
        ]
    )


def _ranks(asked: Tensor, groups: _Members, gallery: Sequence[Tensor], parts: Sequence[_Members]) -> Tensor:
    """Returns the ranks of a block of queries, with scores and right items of one part of the gallery at a time."""

    @lru_cache(maxsize=1)
    def block(number: int) -> tuple[Tensor, Tensor]:
        # In double and rounded afterwards, so that equal items tie wherever they stand in the matrix.
        scores = (asked @ gallery[number].double().T).float()
        right = torch.zeros_like(scores, dtype=torch.bool)
        return scores, right.index_put_(_sharing(groups, parts[number]), torch.tensor(True))

    best = torch.full((len(asked), 1), -torch.inf)
    holding = [number for number, part in enumerate(parts) if torch.isin(groups[0], part[0]).any()]
    for number in holding:
        scores, right = block(number)
        best = torch.maximum(best, scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True))
    found = torch.ones(len(asked), dtype=torch.int64)
    for number in sorted(range(len(parts)), key=lambda number: number not in holding[-1:]):  # the one that is at hand
        scores, right = block(number)
        found += (~(scores < best) & ~right).sum(dim=1)
    return found


_Members = tuple[Tensor, Tensor]
"""Groups of some items, and the item of each, both (M,) int64, in the order of the groups."""


def _members(groups: Sequence[set[int]]) -> _Members:
    pairs = torch.tensor([(group, item) for item, of_item in enumerate(groups) for group in of_item]).reshape(-1, 2)
    numbers, order = pairs[:, 0].sort()
    return numbers, pairs[order, 1]


def _sharing(one: _Members, other: _Members) -> tuple[Tensor, Tensor]:
    """Returns an item of the one and one of the other, both (P,) int64, for each group that they have in common."""
    first = torch.searchsorted(other[0], one[0])
    counts = torch.searchsorted(other[0], one[0], right=True) - first
    within = torch.arange(int(counts.sum())) - (counts.cumsum(0) - counts).repeat_interleave(counts)
    return one[1].repeat_interleave(counts), other[1][first.repeat_interleave(counts) + within]


def wrong_above(scores: Tensor, right: Tensor) -> Tensor:
    """Returns how many wrong items are not below the best right one, (Q,) int64.

    Args:
        scores: (Q, G).
        right: (Q, G), True for the right items, of which each row has one at least.
    """
    best = scores.masked_fill(~right, -torch.inf).amax(dim=1, keepdim=True)
    return (~(scores < best) & ~right).sum(dim=1)
