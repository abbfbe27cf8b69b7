"""A face by rule: where its 68 landmarks lie, and how it looks in each frame of a film.

Landmarks are numbered as in iBUG 300-W (C. Sagonas et al., ICCV Workshops 2013): 0 to 16 jaw, 17 to 26 brows, 27 to 35
nose, 36 to 47 eyes, 48 to 59 the outer edge of the lips and 60 to 67 the inner one.

Places are complex, x + iy with y downwards. Those of the face are in units of the distance between the eyes, from the
middle between them. Shapes: F frames, S side of a frame.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

EYE, EYE_SIZE = 0.5, (0.2, 0.1)
"""Where the eyes lie on either side, and how wide and high they are."""
MOUTH = 1.0
"""How far the mouth lies below the eyes."""
LIP = (0.07, 0.1)
"""How thick the upper and the lower lip are."""
INNER = 0.8
"""Width of the opening, as a share of the mouth's."""
EYES = 0.25
"""Distance between the eyes, as a share of the frame's side."""
NOISE = 2.0
"""Deviation of the noise on each pixel, of 255."""


@dataclass(frozen=True)
class Look:
    """Colours of a person, RGB from 0 to 255, and how far down the hair comes, in the face's units."""

    skin: NDArray[np.float64]
    lips: NDArray[np.float64]
    hair: NDArray[np.float64]
    wall: NDArray[np.float64]
    fringe: float


def look(name: str) -> Look:
    """Returns how somebody looks; it follows from the name alone."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    tone = random.uniform(0.35, 1.0)
    skin = np.array([232, 188, 158]) * tone + random.normal(0, 4, 3)
    lips = skin * [0.86, 0.5, 0.52]
    return Look(skin, lips, random.uniform(15, 110, 3), random.uniform(70, 190, 3), random.uniform(-0.75, -0.55))


def motion(
    frames: int, side: int, random: np.random.Generator
) -> tuple[NDArray[np.complex128], NDArray[np.complex128]]:
    """Returns where the face lies in each frame: `place * unit + origin` is a place in pixels.

    The head sways, nods and comes nearer, slowly.
    """
    time, waves = np.arange(frames) / max(frames, 1), random.uniform(0.5, 1.5, 4)
    x, y, turn, near = np.sin(2 * np.pi * (np.outer(waves, time) + random.uniform(0, 1, (4, 1))))
    unit = EYES * side * (1 + 0.05 * near) * np.exp(1j * np.radians(6) * turn)
    origin = side * ((0.5 + 0.03 * x) + 1j * (0.4 + 0.03 * y))
    return origin, unit


def half_width(apart: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns half the width of the mouth, from rounded (0) to spread (1)."""
    return 0.16 + 0.36 * apart


def edges(opened: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns how far the middle of the inner edge lies above and below the mouth's; the lower lip moves more."""
    return 0.14 * opened, 0.32 * opened


def landmarks(opened: NDArray[np.float64], apart: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Returns the 68 landmarks of a face, (F, 68), in its own units.

    Args:
        opened: How far the mouth is open, (F,) from 0 to 1.
        apart: How far the lips are spread, (F,) from 0 to 1.
    """
    round_eye = np.array([-1, -0.5 - 0.8j, 0.5 - 0.8j, 1, 0.5 + 0.8j, -0.5 + 0.8j])
    eye = round_eye.real * EYE_SIZE[0] + 1j * round_eye.imag * EYE_SIZE[1]
    brow = np.linspace(-0.28, 0.28, 5) - 1j * (0.3 + 0.05 * np.cos(np.linspace(-1.5, 1.5, 5)))
    jaw = 0.45j + 1.05 * np.cos(np.linspace(np.pi, 0, 17)) + 1.25j * np.sin(np.linspace(np.pi, 0, 17))
    nose = np.concatenate([1j * np.linspace(0.05, 0.5, 4), np.linspace(-0.16, 0.16, 5) + 0.6j])
    still = np.concatenate([jaw, brow - EYE, brow + EYE, nose, eye - EYE, eye + EYE])
    above, below = (each[:, None] for each in edges(opened))
    half = half_width(apart)[:, None]
    outer, inner = np.array([-1, -0.66, -0.3, 0, 0.3, 0.66, 1]), np.array([-1, -0.45, 0, 0.45, 1])

    def line(x: NDArray[np.float64], width: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.complex128]:
        found: NDArray[np.complex128] = width * x + 1j * (MOUTH + height * (1 - x**2))
        return found

    lips = [
        line(outer, half, -above - LIP[0]),
        line(outer[5:0:-1], half, below + LIP[1]),
        line(inner, INNER * half, -above),
        line(inner[3:0:-1], INNER * half, below),
    ]
    return np.concatenate([np.broadcast_to(still, (len(opened), 48)), *lips], 1)


def film(
    person: Look,
    opened: NDArray[np.float64],
    apart: NDArray[np.float64],
    placed: tuple[NDArray[np.complex128], NDArray[np.complex128]],
    side: int,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Returns the film of a face that speaks, (F, S, S, 3).

    Args:
        person: How it looks.
        opened: How far the mouth is open in each frame, (F,).
        apart: How far the lips are spread, (F,).
        placed: Where it lies, as `motion` returns it.
        side: S, in pixels.
        random: The noise.
    """
    origin, unit = (each[:, None, None] for each in placed)
    across = np.arange(side) + 0.5
    pixels = (across[None, :] + 1j * across[:, None])[None]
    place = (pixels - origin) / unit
    x, y, sharp = place.real, place.imag, np.abs(unit)  # so that an edge is a pixel wide

    def ellipse(column: float, row: float, width: float, height: float) -> NDArray[np.float64]:
        return _soft((1 - np.hypot((x - column) / width, (y - row) / height)) * min(width, height) * sharp)

    stripes = 1 + 0.12 * np.sin(pixels.real / side * 14 + pixels.imag / side * 5)
    canvas = np.broadcast_to(stripes[..., None] * person.wall, (len(opened), side, side, 3)).copy()
    _paint(canvas, ellipse(0, 0.25, 1.2, 1.5) * _soft((0.5 - y) * sharp), person.hair)
    _paint(canvas, ellipse(0, 0.4, 1.1, 1.45), person.skin)
    _paint(canvas, ellipse(0, 0.25, 1.2, 1.5) * _soft((person.fringe - y) * sharp), person.hair)
    for side_of in (-EYE, EYE):
        _paint(canvas, ellipse(side_of, 0, *EYE_SIZE), np.array([240.0, 240, 240]))
        _paint(canvas, ellipse(side_of, 0, 0.09, 0.1), np.array([40.0, 30, 30]))
        _paint(canvas, ellipse(side_of, -0.33, 0.3, 0.045), person.hair)
    _paint(canvas, 0.5 * ellipse(0, 0.58, 0.17, 0.09), person.skin * 0.6)
    above, below = (each[:, None, None] for each in edges(opened))
    half, down = half_width(apart)[:, None, None], y - MOUTH

    def between(
        width: NDArray[np.float64], top: NDArray[np.float64], bottom: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        bow = 1 - (x / width) ** 2
        inside = np.minimum(np.minimum(down + top * bow, bottom * bow - down), width - np.abs(x))
        return _soft(inside * sharp)

    gap = between(INNER * half, above, below) * ((above + below) * sharp).clip(0, 1)
    _paint(canvas, between(half, above + LIP[0], below + LIP[1]), person.lips)
    _paint(canvas, gap, np.array([35.0, 12, 15]))
    _paint(canvas, gap * _soft((0.07 - above - down) * sharp), np.array([235.0, 232, 225]))  # the upper teeth
    canvas += random.normal(0, NOISE, canvas.shape)
    drawn: NDArray[np.uint8] = canvas.clip(0, 255).astype(np.uint8)
    return drawn


def _soft(inside: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns how much of a pixel is covered whose middle lies so many pixels inside."""
    covered: NDArray[np.float64] = (inside + 0.5).clip(0, 1)
    return covered


def _paint(canvas: NDArray[np.float64], covered: NDArray[np.float64], colour: NDArray[np.float64]) -> None:
    canvas += covered[..., None] * (colour - canvas)
