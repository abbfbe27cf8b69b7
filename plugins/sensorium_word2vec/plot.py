"""What is seen of vectors of words: that what differs alike lies apart alike.

Shapes: N questions, D channels of a vector.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Rows, Split
from sensorium.ops.plots import figure, png

PLACES = ("minus", "word", "plus", "answer")
"""The words of a question: the first is to the second as the third is to the fourth."""
KINDS, PAIRS = 2, 6
"""Kinds of question that are shown, and pairs of words of each."""


def analogies(rows: Rows, split: Split) -> bytes:
    """Returns a PNG of the plane in which the words of some questions differ most, with an arrow in each pair.

    Args:
        rows: `vector.<place>` (N, D) of each of PLACES, and `asked` (N,), whether all of its words are known.
        split: The questions.
    """
    kinds: dict[str, dict[tuple[str, str], tuple[Tensor, Tensor]]] = {}
    for place in rows["asked"].nonzero().squeeze(1).tolist():
        sample = split[place]
        for ends in (PLACES[:2], PLACES[2:]):
            pair = (str(sample[ends[0]]), str(sample[ends[1]]))
            vectors = (rows[f"vector.{ends[0]}"][place], rows[f"vector.{ends[1]}"][place])
            kinds.setdefault(str(sample.get("section", "")), {})[pair] = vectors
    some = {kind: dict(list(pairs.items())[:PAIRS]) for kind, pairs in list(kinds.items())[:KINDS]}
    drawn = figure(5.2 * len(some), 4)
    for axes, (kind, pairs) in zip(drawn.subplots(1, len(some), squeeze=False)[0], some.items(), strict=True):
        ends = plane(torch.stack([vector for pair in pairs.values() for vector in pair])).unflatten(0, (-1, 2))
        for words, ((x, y), (across, up)) in zip(pairs, ends.tolist(), strict=True):
            axes.annotate("", (across, up), (x, y), arrowprops={"arrowstyle": "->", "color": "tab:blue"})
            for word, at in zip(words, ((x, y), (across, up)), strict=True):
                axes.annotate(word, at, fontsize=9, ha="center", parse_math=False)
        axes.scatter(*ends.flatten(0, 1).T.tolist(), s=2, color="white")  # so that the axes hold all words
        axes.margins(0.12)
        axes.set_title(kind, fontsize=9, parse_math=False)
        axes.set_xticks([])
        axes.set_yticks([])
    return png(drawn)


def plane(vectors: Tensor) -> Tensor:
    """Returns the two principal components of vectors (N, D), (N, 2)."""
    centred = vectors.double() - vectors.double().mean(0)
    left, sizes, _ = torch.linalg.svd(centred, full_matrices=False)
    found = left[:, :2] * sizes[:2]
    return torch.nn.functional.pad(found, (0, 2 - found.shape[1]))
