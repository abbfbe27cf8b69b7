"""A drawn face: six features that make a person, and how somebody is looking when the picture is taken.

Shapes: S side of a picture, whose middle is (0, 0) and whose edges lie at -1 and 1, x to the right, y down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOISE = 6.0
"""Deviation of the noise on each pixel of a photograph, of 255."""
SKIN, SHADE, BEARD = (226, 180, 150), (150, 98, 78), (84, 66, 60)
WHITE, DARK, LIPS = (245, 245, 245), (45, 35, 35), (188, 72, 76)
"""RGB of the parts that all people share."""
BLACK, BLOND = np.array([38, 28, 26]), np.array([228, 190, 96])
"""RGB of the darkest and the lightest hair."""

Grid = NDArray[np.float64]


@dataclass(frozen=True)
class Features:
    """What makes a face, each from -1 to 1.

    Attributes:
        jaw: From narrow to broad.
        brows: From thin to thick.
        beard: From none to a full one.
        hair: From black to blond.
        eyes: From close to far apart.
        lips: From narrow to full.
    """

    jaw: float
    brows: float
    beard: float
    hair: float
    eyes: float
    lips: float


@dataclass(frozen=True)
class Look:
    """How a picture was taken; what is left out is the look of a passport.

    Attributes:
        turn: Of the head, in radians.
        scale: Of the face.
        across: Move to the right, of half a side.
        down: Move downwards, of half a side.
        smile: From -1, sad, to 1.
        light: Brightness on the left and on the right, as factors.
        background: RGB.
    """

    turn: float = 0.0
    scale: float = 1.0
    across: float = 0.0
    down: float = 0.0
    smile: float = 0.0
    light: tuple[float, float] = (1.0, 1.0)
    background: tuple[float, float, float] = (150.0, 165.0, 180.0)


def seen(random: np.random.Generator) -> Look:
    """Returns a look as photographs have them."""
    turn, scale, across, down, smile = random.uniform(-1, 1, 5) * (0.15, 0.08, 0.08, 0.08, 1.0)
    light = tuple(random.uniform(0.7, 1.15, 2).tolist())
    return Look(turn, 1 + scale, across, down, smile, light, tuple(random.uniform(60, 230, 3).tolist()))


def portrait(face: Features, look: Look, side: int) -> Grid:
    """Returns the picture of a face, (S, S, 3) from 0 to 255, without noise.

    Args:
        face: Whose.
        look: How it was taken.
        side: S, in pixels.
    """
    at = (np.arange(side) + 0.5) * 2 / side - 1
    x, y = (at[None, :] - look.across) / look.scale, (at[:, None] - look.down) / look.scale
    x, y = np.cos(look.turn) * x + np.sin(look.turn) * y, np.cos(look.turn) * y - np.sin(look.turn) * x
    aside = np.abs(x)  # a face is its own mirror image
    edge = side * 0.9  # the steepness of an outline that is about a pixel wide
    canvas = np.broadcast_to(np.array(look.background), (side, side, 3)).copy()

    def paint(distance: Grid, colour: object, share: float = 1.0) -> None:
        """Lays a colour over where the distance to an outline is below 0."""
        cover = share / (1 + np.exp((distance * edge).clip(-30, 30)))
        canvas[:] += cover[..., None] * (np.asarray(colour) - canvas)

    def oval(across: float, down: float, wide: float, high: float) -> Grid:
        """Returns the distance to an ellipse, and of its mirror image."""
        distance: Grid = (np.hypot((aside - across) / wide, (y - down) / high) - 1) * min(wide, high)
        return distance

    def stroke(height: Grid | float, thick: float, start: float, end: float) -> Grid:
        """Returns the distance to a line of a height, from one place to another aside."""
        distance: Grid = np.maximum(np.abs(y - height) - thick, np.maximum(start - aside, aside - end))
        return distance

    hair = BLACK + (BLOND - BLACK) * (face.hair + 1) / 2
    paint(oval(0, -0.18, 0.74, 0.72), hair)
    paint(oval(0, 0.95, 0.3, 0.5), SHADE)  # neck
    # Below the eyes the face grows narrow towards the chin: the less, the broader the jaw.
    narrow = 1 - (0.42 - 0.38 * face.jaw) * (y + 0.05).clip(0, None) ** 1.3
    paint((np.hypot(x / ((0.6 + 0.06 * face.jaw) * narrow), (y - 0.02) / 0.8) - 1) * 0.6, SKIN)
    chin = np.maximum((np.hypot(x / (0.66 * narrow), (y - 0.02) / 0.82) - 1) * 0.6, 0.18 + 0.35 * aside - y)
    paint(chin, BEARD, 0.45 * (face.beard + 1))
    paint(np.maximum(oval(0, -0.25, 0.66, 0.62), y + 0.42 + 0.25 * x**2), hair)
    eyes = 0.25 + 0.07 * face.eyes
    paint(oval(eyes, -0.1, 0.13, 0.075), WHITE)
    paint(oval(eyes, -0.1, 0.06, 0.07), DARK)
    brow = 0.05 + 0.035 * face.brows
    paint(stroke(-0.27 + 0.5 * (aside - eyes) ** 2, brow, eyes - 0.17, eyes + 0.17), 0.7 * hair)
    paint(stroke(0.22 - 0.6 * aside, 0.03, 0.0, 0.1), SHADE, 0.6)  # nose
    curve = y - 0.45 + look.smile * 1.6 * (x**2 - 0.03)
    paint((np.hypot(x / 0.24, curve / (0.065 + 0.035 * face.lips)) - 1) * 0.08, LIPS)
    paint(stroke(0.45 - look.smile * 1.6 * (x**2 - 0.03), 0.008, 0.0, 0.2), SHADE)
    canvas *= look.light[0] + (look.light[1] - look.light[0]) * (at[None, :, None] + 1) / 2
    return canvas.clip(0, 255)


def photograph(face: Features, random: np.random.Generator, side: int) -> NDArray[np.uint8]:
    """Returns a face as somebody took it, (S, S, 3): turned, moved, lit, smiling or not, with noise."""
    drawn = portrait(face, seen(random), side)
    pixels: NDArray[np.uint8] = (drawn + random.normal(0, NOISE, drawn.shape)).clip(0, 255).astype(np.uint8)
    return pixels
