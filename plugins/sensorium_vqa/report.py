"""What an evaluation shows: pictures with a question and its answer."""

from __future__ import annotations

from sensorium import Rows, Split
from sensorium.builtin.modalities.image import Image
from sensorium.ops.plots import Tile, in_rows, sheet

SHOWN, COLUMNS = 8, 4


def answered(rows: Rows, split: Split, image: Image, seen: str, asked: str) -> bytes:
    """Returns one PNG of the first pictures, each below its question and answer, which is green if it is right.

    Args:
        rows: Rows of the whole split.
        split: Where the samples come from.
        image: The pictures' modality.
        seen: Field of the picture.
        asked: Field of the question.
    """
    tiles = []
    for place in range(min(SHOWN, len(split))):
        sample, answer = split[place], rows["said.answer"][place]
        right = answer in rows["answers"][place]
        tiles.append(Tile(image.seen(sample[seen]), f"{sample[asked]} {answer}", "green" if right else "red"))
    return sheet(in_rows(tiles, COLUMNS), (2.6, 3.0))
