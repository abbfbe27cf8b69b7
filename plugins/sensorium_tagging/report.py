"""What an evaluation shows: pictures, the word that is taken and the one that is added, and the pictures found.

Shapes: N pictures, C tags, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sensorium.ops.plots import Tile, sheet
from sensorium_tagging.arithmetic import Questions, nearness

SHOWN = 6
"""Questions on a sheet."""
FOUND = 4
"""Pictures that are shown of what was found, the nearest first."""


def sheet_of(
    asked: Questions, pictures: Tensor, scores: Tensor, names: Sequence[str], shown: Callable[[int], bytes]
) -> bytes:
    """Returns a PNG: in each row a picture with what is asked of it, and what was found, green where it is right.

    Args:
        asked: The questions, one at least.
        pictures: Embeddings (N, D).
        scores: Cosines of the pictures and the tags (N, C).
        names: The tags.
        shown: Place of a picture -> PNG.
    """
    rows = []
    for number in torch.linspace(0, len(asked) - 1, min(SHOWN, len(asked))).long().tolist():
        one = slice(number, number + 1)
        minus, plus = asked.minus[one], asked.plus[one]
        gallery = slice(len(asked.has))
        near = nearness(pictures[gallery], scores[gallery], asked.picture[one], minus, plus)[0]
        best = near.topk(min(FOUND, len(near) - 1)).indices.tolist()
        right = asked.right(one)[0]
        title = f"this\n- {names[int(minus)]} + {names[int(plus)]}"
        tiles = [Tile(shown(place), "found", "green" if right[place] else "red") for place in best]
        rows.append([Tile(shown(int(asked.picture[number])), title), *tiles])
    return sheet(rows, (1.7, 1.6))
