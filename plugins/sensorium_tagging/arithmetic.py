"""Arithmetic: the picture of a dog, minus "dog", plus "cat".

R. Kiros et al., Unifying Visual-Semantic Embeddings with Multimodal Neural Language Models, 2014, section 4.3.

Shapes: N pictures, C tags, K kinds of tags, Q questions, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

GALLERY = 2_000
"""Pictures of a split, the first ones, that are asked about and looked for."""
BLOCK = 512
"""Questions that are answered at once."""


@dataclass(frozen=True)
class Questions:
    """A picture, the tag that is taken from it, and the one that takes its place.

    Attributes:
        picture: (Q,), places of the pictures.
        minus: (Q,), columns of the tags.
        plus: (Q,), columns of the tags.
        wanted: (Q, K), which tag of each kind the picture that is looked for has.
        has: (N, K), which one each picture of the gallery has; -1 where it is not one alone.
    """

    picture: Tensor
    minus: Tensor
    plus: Tensor
    wanted: Tensor
    has: Tensor

    def __len__(self) -> int:
        return len(self.picture)

    def right(self, some: slice) -> Tensor:
        """Returns which pictures of the gallery answer some questions, (Q, N)."""
        return (self.wanted[some, None] == self.has[None]).all(2)


def questions(truth: Tensor, kinds: Sequence[Sequence[int]]) -> Questions:
    """Returns all questions that have an answer in the gallery.

    Asked of a picture that has one tag of each kind: the answer has another tag of one kind, all others the same.

    Args:
        truth: Which tags the pictures have, (N, C) bool.
        kinds: Columns of tags of which one takes another's place.
    """
    columns = [torch.tensor(kind, device=truth.device) for kind in kinds]
    own = [truth[:, column] for column in columns]
    has = torch.stack([c[o.int().argmax(1)].where(o.sum(1) == 1, -1) for c, o in zip(columns, own, strict=True)], 1)
    whole = (has >= 0).all(1)
    there = {tuple(row) for row in has[whole].tolist()}
    found = []
    for picture in whole.nonzero()[:, 0].tolist():
        row = has[picture].tolist()
        for kind, names in enumerate(kinds):
            for plus in names:
                wanted = [*row[:kind], plus, *row[kind + 1 :]]
                if plus != row[kind] and tuple(wanted) in there:
                    found.append([picture, row[kind], plus, *wanted])
    asked = torch.tensor(found, dtype=torch.int64, device=truth.device).view(-1, 3 + len(kinds))
    return Questions(asked[:, 0], asked[:, 1], asked[:, 2], asked[:, 3:], has)


def nearness(
    pictures: Tensor, scores: Tensor, asked: Tensor, minus: Tensor | None = None, plus: Tensor | None = None
) -> Tensor:
    """Returns how near each picture lies to each one that was asked about, moved by words, (Q, N).

    That is its product with the moved picture, whose length is the same for all of a row. The one that was asked about
    lies farthest.

    Args:
        pictures: (N, D) of unit length.
        scores: Cosines of the pictures and the tags, (N, C).
        asked: Places of pictures, (Q,).
        minus: Columns of the words that are taken away, (Q,); None takes none.
        plus: Columns of those that are added, (Q,); None adds none.
    """
    near = pictures[asked].double() @ pictures.double().T
    for sign, words in ((-1, minus), (1, plus)):
        if words is not None:
            near += sign * scores.double().T[words]
    return near.float().scatter(1, asked[:, None], -torch.inf)


def share_right(
    pictures: Tensor, scores: Tensor, asked: Questions, minus: Tensor | None = None, plus: Tensor | None = None
) -> float:
    """Returns the share of questions for which what lies nearest is right; ties count against it. NaN without any."""
    hits = []
    for start in range(0, len(asked), BLOCK):
        some = slice(start, start + BLOCK)
        words = [None if each is None else each[some] for each in (minus, plus)]
        near, right = nearness(pictures, scores, asked.picture[some], *words), asked.right(some)
        best = near.masked_fill(~right, -torch.inf).amax(1)
        hits.append(best > near.masked_fill(right, -torch.inf).amax(1))
    return float(torch.cat(hits).double().mean()) if hits else float("nan")


def metrics(pictures: Tensor, truth: Tensor, scores: Tensor, kinds: Sequence[Sequence[int]]) -> dict[str, float]:
    """Returns `arithmetic` and what it reaches with less: shares of the questions whose answer lies nearest.

    `arithmetic_random` adds the word of another tag than was asked for, `arithmetic_minus` adds none, and
    `arithmetic_picture` neither adds nor takes any.

    Args:
        pictures: (N, D) of unit length.
        truth: (N, C).
        scores: Cosines of the pictures and the tags, (N, C).
        kinds: Columns of tags of which one takes another's place.
    """
    asked = questions(truth[:GALLERY] > 0, kinds)
    count = scores.shape[1]
    drawn = torch.randint(1, count, (len(asked),), generator=torch.Generator().manual_seed(0)).to(scores.device)
    moves: dict[str, tuple[Tensor | None, Tensor | None]] = {
        "arithmetic": (asked.minus, asked.plus),
        "arithmetic_random": (asked.minus, (asked.plus + drawn) % count),
        "arithmetic_minus": (asked.minus, None),
        "arithmetic_picture": (None, None),
    }
    return {
        name: share_right(pictures[:GALLERY], scores[:GALLERY], asked, minus, plus)
        for name, (minus, plus) in moves.items()
    }
