"""A scene: coloured digits in the cells of a canvas, and its picture.

Shapes: H and W rows and columns of the canvas, S the side of a cell.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = {
    "red": (230, 60, 50),
    "green": (70, 200, 80),
    "blue": (70, 110, 250),
    "yellow": (235, 215, 60),
}
"""Name -> RGB."""
PLACES = ("top left", "top right", "bottom left", "bottom right")
"""Names of the four cells, row by row."""
MIDDLE = "middle"
"""Name of the one cell of the smallest canvas."""
NOISE = 6.0
"""Deviation of the noise on each pixel, of 255."""


@dataclass(frozen=True)
class Item:
    """One digit on the canvas.

    Attributes:
        digit: Its word.
        colour: Name of its colour.
        place: Name of its cell.
        sample: Index of the handwriting in its split of the source.
    """

    digit: str
    colour: str
    place: str
    sample: int

    @property
    def triple(self) -> tuple[str, str, str]:
        """Colour, digit and place."""
        return self.colour, self.digit, self.place

    @property
    def cell(self) -> tuple[int, int]:
        """Row and column of its cell."""
        return (0, 0) if self.place == MIDDLE else divmod(PLACES.index(self.place), 2)


@dataclass(frozen=True)
class Drawing:
    """The picture of a scene.

    Attributes:
        pixels: (H, W, 3) uint8.
        boxes: Of each item, in their order: left, top, right, bottom in pixels, right and bottom excluded.
    """

    pixels: NDArray[np.uint8]
    boxes: list[tuple[int, int, int, int]]


def draw(
    items: list[Item], strokes: list[NDArray[np.uint8]], side: int, random: np.random.Generator, cells: int = 2
) -> Drawing:
    """Returns the picture of a scene, each digit somewhere within its cell.

    Args:
        items: What is in the scene.
        strokes: The handwriting of each item, (h, w), 0 for paper and 255 for ink.
        side: S, in pixels.
        random: Where each lies in its cell, and the noise.
        cells: Cells along each side of the canvas.
    """
    canvas = np.zeros((cells * side, cells * side, 3))
    boxes = []
    for item, ink in zip(items, strokes, strict=True):
        size = round(side * random.uniform(0.75, 0.9375))
        grown = resized(ink.astype(np.float64) / 255, size)
        row, column = (int(random.integers(side - size + 1)) + side * place for place in item.cell)
        canvas[row : row + size, column : column + size] += grown[..., None] * COLOURS[item.colour]
        boxes.append((column, row, column + size, row + size))
    canvas += random.normal(0, NOISE, canvas.shape)
    return Drawing(canvas.clip(0, 255).astype(np.uint8), boxes)


def resized(ink: NDArray[np.float64], size: int) -> NDArray[np.float64]:
    """Returns (h, w) as (size, size), bilinear."""
    for axis, length in enumerate(ink.shape):
        at = (np.arange(size) + 0.5) * length / size - 0.5
        low = np.floor(at).clip(0, length - 1).astype(int)
        high = (low + 1).clip(max=length - 1)
        share = (at - low).clip(0, 1).reshape((-1, 1) if axis == 0 else (1, -1))
        ink = ink.take(low, axis) * (1 - share) + ink.take(high, axis) * share
    return ink
