"""Faces from their 68 landmarks, numbered as in iBUG 300-W: where a face lies in a frame, and its mouth.

Places are complex, x + iy with y downwards: in pixels of a frame, or in units of the distance between the eyes, from
the middle between them, with the eyes level. Shapes: ... any leading dimensions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

POINTS = 68
EYES = (slice(36, 42), slice(42, 48))
MOUTH = slice(48, 68)
CORNERS, MIDDLES = (0, 6), (14, 18)
"""Of the mouth's points: the outer corners, and the middles of the upper and the lower inner edge."""


class Place(NamedTuple):
    """Where a face lies: `mouth * unit + origin` is in pixels. Both are (...) complex."""

    origin: Tensor
    unit: Tensor


def placed(landmarks: Tensor) -> tuple[Place, Tensor]:
    """Returns where faces lie, and their mouths (..., 20), upright and in units of the distance between the eyes.

    Args:
        landmarks: (..., 136), x and y in turn, in pixels.
    """
    points = torch.view_as_complex(landmarks.float().unflatten(-1, (POINTS, 2)).contiguous())
    left, right = (points[..., eye].mean(-1) for eye in EYES)
    apart = right - left
    unit = torch.where(apart.abs() < 1e-3, torch.ones_like(apart), apart)  # where both eyes are in one place
    place = Place((left + right) / 2, unit)
    return place, (points[..., MOUTH] - place.origin[..., None]) / unit[..., None]


def openings(mouths: Tensor) -> Tensor:
    """Returns how high and how wide mouths (..., 20) are open, (..., 2)."""
    height = mouths[..., MIDDLES[1]].imag - mouths[..., MIDDLES[0]].imag
    width = mouths[..., CORNERS[1]].real - mouths[..., CORNERS[0]].real
    return torch.stack([height, width], -1)
