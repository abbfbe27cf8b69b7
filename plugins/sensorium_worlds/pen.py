"""A pen that writes a digit, as an inertial sensor in it feels it.

Shapes: P points of a path, T readings.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

READINGS = 100
"""T."""
RATE = 50.0
"""Readings a second."""
TALL = 0.05
"""Height of a digit, in metres."""
GRAVITY = 9.81
"""In m/s²."""
ROUND = 2.0
"""Deviation of the window that rounds corners, in readings."""

PATHS = {
    "zero": ((0.5, 0), (0.15, 0.2), (0.1, 0.5), (0.2, 0.85), (0.5, 1), (0.8, 0.85), (0.9, 0.5), (0.8, 0.15), (0.5, 0)),
    "one": ((0.3, 0.2), (0.5, 0), (0.5, 1)),
    "two": ((0.15, 0.2), (0.45, 0), (0.8, 0.2), (0.7, 0.5), (0.15, 1), (0.85, 1)),
    "three": ((0.2, 0.1), (0.5, 0), (0.8, 0.2), (0.45, 0.45), (0.8, 0.7), (0.55, 1), (0.15, 0.9)),
    "four": ((0.6, 0), (0.1, 0.65), (0.9, 0.65), (0.65, 0.35), (0.65, 1)),
    "five": ((0.8, 0), (0.25, 0), (0.2, 0.45), (0.6, 0.4), (0.85, 0.7), (0.55, 1), (0.15, 0.9)),
    "six": ((0.7, 0), (0.3, 0.35), (0.15, 0.75), (0.45, 1), (0.8, 0.8), (0.6, 0.55), (0.2, 0.7)),
    "seven": ((0.1, 0), (0.85, 0), (0.4, 1)),
    "eight": ((0.75, 0.15), (0.45, 0), (0.25, 0.2), (0.7, 0.65), (0.75, 0.9), (0.5, 1), (0.2, 0.85), (0.35, 0.6),
              (0.75, 0.15)),
    "nine": ((0.8, 0.2), (0.5, 0), (0.2, 0.25), (0.45, 0.5), (0.8, 0.2), (0.75, 0.6), (0.6, 1)),
}  # fmt: skip
"""Digit -> the points that the pen passes, x to the right and y downwards, the digit's height being 1."""


def written(digit: str, random: np.random.Generator) -> NDArray[np.float32]:
    """Returns what a pen feels that writes a digit once, (T, 6).

    Acceleration along three axes, in m/s², with that of gravity, then rotation about them, in rad/s.

    Args:
        digit: Its word.
        random: Size, slant, turn, pace, when it begins, how the pen is held, and the noise.
    """
    points = np.array(PATHS[digit]) + random.normal(0, 0.04, (len(PATHS[digit]), 2))
    turn, slant = random.normal(0, 0.12), random.normal(0, 0.2)
    frame = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ [[1, -slant], [0, 1]]
    points = points @ frame.T * TALL * random.uniform(0.75, 1.25, 2)
    lengths = np.hypot(*np.diff(points, axis=0).T)
    passed = np.concatenate([[0.0], np.cumsum(lengths)])
    start, lasts = random.uniform(0.1, 0.5), random.uniform(0.9, 1.4)
    done = ((np.arange(READINGS) / RATE - start) / lasts).clip(0, 1)
    done = done**3 * (10 - 15 * done + 6 * done**2)  # the smoothest way from rest to rest
    way = np.stack([np.interp(done * passed[-1], passed, axis) for axis in points.T])  # (2, T)
    way = np.stack([_rounded(axis) for axis in way])
    speed = np.gradient(way, 1 / RATE, axis=1)
    moved = np.gradient(speed, 1 / RATE, axis=1)
    lean = random.normal(0, 0.15, (2, 1)) + 0.5 * way / TALL * random.uniform(0.1, 0.3)  # the hand tips along
    up = np.stack([np.sin(lean[0]), np.sin(lean[1]), np.sqrt(1 - (np.sin(lean) ** 2).sum(0).clip(max=0.9))])
    felt = np.concatenate([moved, np.zeros((1, READINGS))]) + GRAVITY * up
    turned = np.stack([*np.gradient(lean, 1 / RATE, axis=1), np.zeros(READINGS)])
    readings = np.concatenate([felt, turned]).T
    readings += random.normal(0, [0.08] * 3 + [0.04] * 3, 6) + random.normal(0, [0.12] * 3 + [0.05] * 3, (READINGS, 6))
    return readings.astype(np.float32)


def _rounded(track: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = int(3 * ROUND)
    window = np.exp(-0.5 * (np.arange(-reach, reach + 1) / ROUND) ** 2)
    return np.convolve(np.pad(track, reach, "edge"), window / window.sum(), "valid")
