"""Plots as PNG: sheets of pictures, and whatever matplotlib draws.

Titles are users' texts: none is read as a formula.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

TITLE = 0.4
"""Height of a title of one line or two, in inches."""


@dataclass(frozen=True)
class Tile:
    """One picture of a sheet.

    Attributes:
        png: The picture, in a format that Pillow reads.
        title: What stands above it.
        colour: Of the title, as matplotlib names it.
    """

    png: bytes
    title: str = ""
    colour: str = "black"


def sheet(rows: Sequence[Sequence[Tile | None]], size: tuple[float, float], wrap: int = 30) -> bytes:
    """Returns one PNG of rows of pictures.

    Args:
        rows: What stands in each row, from the left; None, and what is missing at the end, stays empty.
        size: Width and height of a cell in inches, at 80 dots an inch.
        wrap: Characters after which a title is broken.
    """
    from PIL import Image

    columns = max(map(len, rows))
    drawing = figure(size[0] * columns, size[1] * len(rows), dpi=80)
    grid = drawing.subplots(len(rows), columns, squeeze=False)
    for axes in grid.flat:
        axes.axis("off")
    for line, row in zip(grid, rows, strict=True):
        for axes, tile in zip(line, row, strict=False):
            if tile is not None:
                with Image.open(io.BytesIO(tile.png)) as opened:
                    axes.imshow(opened.convert("RGB"), interpolation="nearest")
                title = textwrap.fill(tile.title, wrap)
                axes.set_title(title, fontsize=7, color=tile.colour, parse_math=False)
    return png(drawing)


def cell(picture: bytes, width: float) -> tuple[float, float]:
    """Returns width and height, in inches, of a cell that a picture (PNG) of this width fills below its title."""
    from PIL import Image

    with Image.open(io.BytesIO(picture)) as opened:
        return width, TITLE + width * opened.height / opened.width


def in_rows(tiles: Sequence[Tile], columns: int) -> list[Sequence[Tile]]:
    """Returns tiles as the rows of a sheet."""
    return [tiles[start : start + columns] for start in range(0, len(tiles), columns)]


def figure(width: float, height: float, dpi: int = 100) -> Any:
    """Returns an empty figure of matplotlib, of so many inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=dpi, layout="constrained")


def png(drawing: Any) -> bytes:
    """Returns a figure of matplotlib as PNG."""
    buffer = io.BytesIO()
    drawing.savefig(buffer, format="png")
    return buffer.getvalue()
