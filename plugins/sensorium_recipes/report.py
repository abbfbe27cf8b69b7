"""What an evaluation shows: recipes, and the pictures that are found for them.

Shapes: N samples, D channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from sensorium.ops.plots import Tile, sheet

SHOWN, FOUND = 4, 4
"""Recipes on a sheet, and pictures that are found for each, the nearest first."""
LENGTH = 200
"""Characters of the instructions that are shown."""


def found(
    read: Tensor,
    seen: Tensor,
    groups: Tensor,
    recipe: Callable[[int], Mapping[str, Sequence[str]]],
    shown: Callable[[int], bytes],
) -> bytes:
    """Returns a PNG: in each row a dish with its instructions, and the pictures found for these, green where right.

    Args:
        read: Embeddings of recipes (N, D).
        seen: Embeddings of pictures (N, D).
        groups: Equal for equal dishes, (N,).
        recipe: Place of a sample -> its recipe.
        shown: Place of a sample -> its picture as PNG.
    """
    rows = []
    for place in torch.linspace(0, len(read) - 1, min(SHOWN, len(read))).long().tolist():
        best = (seen @ read[place]).topk(min(FOUND, len(seen))).indices.tolist()
        steps = " ".join(f"{number}. {step[:40]}." for number, step in enumerate(recipe(place)["instructions"], 1))
        right = [bool(groups[each] == groups[place]) for each in best]
        tiles = [Tile(shown(each), "found", "green" if ok else "red") for each, ok in zip(best, right, strict=True)]
        rows.append([Tile(shown(place), steps[:LENGTH]), *tiles])
    return sheet(rows, (2.2, 2.2), 44)
