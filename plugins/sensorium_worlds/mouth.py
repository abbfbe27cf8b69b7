"""What a frame of the world shows: a digit in a striped place, and a mouth that opens as loudly as it speaks.

Shapes: S side of a picture, T samples, F frames.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from sensorium_worlds.formants import RATE
from sensorium_worlds.scene import resized

NOISE = 6.0
"""Deviation of the noise on each pixel, of 255."""
RANGE = 30.0
"""Decibels from a closed mouth to an open one."""
ROUNDED, SPREAD = 500.0, 2500.0
"""Middle of the spectrum, in Hz, of lips that are drawn together, as for `oo`, and apart, as for `ee` and `s`."""


def place(ink: NDArray[np.uint8], number: int, count: int, side: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Returns a digit in front of stripes whose direction tells the place, (S, S, 3).

    Args:
        ink: The handwriting, (h, w), 0 for paper and 255 for ink.
        number: Of the place.
        count: Places that there are; their directions lie evenly in half a turn.
        side: S, in pixels.
        random: Where the digit lies, how the stripes lie and what they are coloured, and the noise.
    """
    angle, length = np.pi * number / count, random.uniform(4.0, 5.5)
    rows, columns = np.mgrid[:side, :side]
    wave = np.sin(2 * np.pi * ((np.cos(angle) * columns + np.sin(angle) * rows) / length + random.uniform()))
    canvas = (60 + 45 * wave)[..., None] * random.uniform(0.6, 1, 3)
    size = round(side * random.uniform(0.7, 0.85))
    row, column = random.integers(side - size + 1, size=2)
    grown = resized(ink.astype(np.float64) / 255, size)[..., None]
    part = canvas[row : row + size, column : column + size]
    canvas[row : row + size, column : column + size] = part * (1 - grown) + 245 * grown
    canvas += random.normal(0, NOISE, canvas.shape)
    drawn: NDArray[np.uint8] = canvas.clip(0, 255).astype(np.uint8)
    return drawn


def aperture(sound: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """Returns how far the mouth is open in each frame, (F,) from 0 to 1.

    It is the level of the sound in the frame's time, over 30 dB below the loudest frame.

    Args:
        sound: (T,), of one speaker alone.
        frames: F, which share the T samples evenly.
    """
    edges = np.linspace(0, len(sound), frames + 1).round().astype(int)
    sums = np.concatenate([[0.0], np.cumsum(np.square(sound, dtype=np.float64))])
    level = np.diff(sums[edges]) / np.diff(edges)
    loudest = level.max()
    if loudest <= 0:
        return np.zeros(frames)
    decibels = 10 * np.log10((level / loudest).clip(10 ** (-RANGE / 10)))
    opened: NDArray[np.float64] = 1 + decibels / RANGE
    return opened


def spread(sound: NDArray[np.float32], frames: int) -> NDArray[np.float64]:
    """Returns how far the lips are apart in each frame, (F,) from 0 for rounded to 1 for spread; 0.5 in silence.

    It is the centroid of the magnitudes in the spectrum, on a scale of octaves.

    Args:
        sound: (T,), of one speaker alone.
        frames: F, which share the T samples evenly.
    """
    size = max(2, -(-len(sound) // frames))
    starts = np.linspace(0, len(sound), frames + 1).round().astype(int)[:-1]
    pieces = np.pad(sound, (0, size))[starts[:, None] + np.arange(size)] * np.hanning(size)
    magnitudes = np.abs(np.fft.rfft(pieces))
    total = magnitudes.sum(1)
    centroid = magnitudes @ np.fft.rfftfreq(size, 1 / RATE) / np.maximum(total, 1e-9)
    apart = np.log(np.maximum(centroid, 1.0) / ROUNDED) / np.log(SPREAD / ROUNDED)
    found: NDArray[np.float64] = np.where(total > 0, apart.clip(0, 1), 0.5)
    return found


def mouth(
    opened: NDArray[np.float64], apart: NDArray[np.float64], side: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Returns the video of a mouth, (F, S, S): a dark ellipse in a light face, with noise on each pixel.

    Args:
        opened: How far it is open in each frame, (F,) from 0 to 1: its height.
        apart: How far the lips are spread in each frame, (F,) from 0 to 1: its width.
        side: S, in pixels.
        random: The noise.
    """
    across = (np.arange(side) + 0.5 - side / 2) / (side / 2)
    half = 0.08 + 0.8 * opened[:, None, None]
    width = 0.4 + 0.5 * apart[:, None, None]
    distance = np.hypot(across[None, None, :] / width, across[None, :, None] / half)
    edge = side * half * 0.5  # pixels from the middle to the lip, so that the lip is about a pixel wide
    light = 1 / (1 + np.exp(-3 * edge * (distance - 1)))
    pixels = 40 + 160 * light + random.normal(0, NOISE, light.shape)
    video: NDArray[np.uint8] = pixels.clip(0, 255).astype(np.uint8)
    return video
