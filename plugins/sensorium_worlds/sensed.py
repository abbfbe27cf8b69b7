"""Handwriting that stands out from a wall, as a depth camera and a thermal camera see it.

Shapes: S side of a picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distances(ink: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float32]:
    """Returns how far away each pixel is, (S, S), in metres; 0 where nothing was measured.

    Args:
        ink: (S, S), 0 for the wall and 1 for ink, which stands out.
        random: Where the wall stands and how it is tilted, how far the digit stands out, the noise, and the holes.
    """
    wall = random.uniform(1.5, 2.5) + _slope(len(ink), random, 0.1)
    measured = wall - random.uniform(0.15, 0.35) * ink + random.normal(0, 0.015, ink.shape)
    return np.where(random.random(ink.shape) < 0.02, 0, measured).astype(np.float32)


def temperatures(ink: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float32]:
    """Returns how warm each pixel is, (S, S), in degrees Celsius; the digit's warmth has spread to its neighbours.

    Args:
        ink: (S, S), 0 for the wall and 1 for ink, which is warm.
        random: How warm wall and digit are, and the noise.
    """
    wall = random.uniform(15, 25) + _slope(len(ink), random, 2)
    warmth = ink
    for axis in (0, 1):
        padded = np.pad(warmth, [(1, 1) if each == axis else (0, 0) for each in (0, 1)], "edge")
        parts = [np.take(padded, np.arange(len(ink)) + at, axis) for at in range(3)]
        warmth = 0.2 * parts[0] + 0.6 * parts[1] + 0.2 * parts[2]
    measured: NDArray[np.float32] = (wall + random.uniform(8, 14) * warmth + random.normal(0, 0.6, ink.shape)).astype(
        np.float32
    )
    return measured


def _slope(side: int, random: np.random.Generator, most: float) -> NDArray[np.float64]:
    """Returns what grows evenly across a picture, by at most so much from its middle to an edge along each axis."""
    line = np.linspace(-1, 1, side)
    down, across = random.uniform(-most, most, 2)
    sloped: NDArray[np.float64] = down * line[:, None] + across * line
    return sloped
