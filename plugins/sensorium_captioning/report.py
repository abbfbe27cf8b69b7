"""What an evaluation shows: pictures with the sentences said of them."""

from __future__ import annotations

from collections.abc import Sequence

from sensorium.ops.plots import Tile, in_rows, sheet

COLUMNS = 4


def captioned(pictures: Sequence[bytes], sentences: Sequence[str]) -> bytes:
    """Returns one PNG of pictures (PNG) with a sentence above each."""
    tiles = [Tile(picture, sentence) for picture, sentence in zip(pictures, sentences, strict=False)]
    return sheet(in_rows(tiles, COLUMNS), (2.6, 3.0))
