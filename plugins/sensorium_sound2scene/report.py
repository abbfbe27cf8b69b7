"""What is shown: sounds, pictures drawn of them as they are, quieter and louder, and what was to be seen.

Shapes: N samples of a split, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from sensorium import Modality, Rows
from sensorium.ops.plots import Tile, sheet

SHOWN = 8
"""Columns of a sheet."""


def heard(rows: Rows, image: Modality, sound: Callable[[int], bytes], names: Callable[[int], str]) -> bytes:
    """Returns a PNG with a column for each of a few sounds: the sound, pictures drawn of it, and the real one.

    Args:
        rows: `drawn`, `quieter`, `louder` and `real`, (N, C, H, W) each.
        image: What pictures are encoded by.
        sound: Place of a sample -> the picture of its sound as PNG.
        names: Place of a sample -> what it shows, in words.
    """
    places = spread(len(rows["drawn"]))
    lines = [[Tile(sound(place), f"“{names(place)}” is heard") for place in places]]
    titles = {"drawn": "drawn of it", "quieter": "of it, quieter", "louder": "of it, louder", "real": "seen then"}
    lines += [[Tile(image.encode(rows[kind][place]), title) for place in places] for kind, title in titles.items()]
    return sheet(lines, (1.25, 1.35), wrap=18)


def like(rows: Rows, image: Modality) -> bytes:
    """Returns a PNG with a column for each of a few pictures (`real`), and two that were drawn like it."""
    kinds = ("real", "drawn", "second")
    return sheet(
        [[Tile(image.encode(rows[kind][place])) for place in spread(len(rows[kind]))] for kind in kinds], (1, 1)
    )


def spread(count: int) -> Sequence[int]:
    """Returns the places of a few samples of so many."""
    places: list[int] = torch.linspace(0, count - 1, min(SHOWN, count)).long().tolist()
    return places
