"""The world `digits_moving`: a coloured digit moves, and a sentence says which and whereto.

Every record is a function of seed, split and index alone, so that workers make their own.

Shapes: S side of a frame, F frames.
"""

from __future__ import annotations

from itertools import product
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Dataset, Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.scene import COLOURS, DIGITS, NOISE, resized

DIRECTIONS = {"left": (0, -1), "right": (0, 1), "up": (-1, 0), "down": (1, 0)}
"""Word -> rows and columns of a step; each beside its opposite."""
RATE = 8.0
"""Frames a second."""
WORDS = (
    "a {colour} {digit} moves {direction}",
    "the {digit} in {colour} goes {direction}",
    "{direction} moves a {colour} {digit}",
)
"""What is said of a video."""
KINDS = tuple(product(COLOURS, DIGITS, DIRECTIONS))


class DigitsMoving(Drawn):
    """Videos of one digit that moves evenly in one of four directions.

    Where its way lies does not depend on the direction, so that only the order of the frames tells it. The samples of
    an even index and the next are twins: the same digit goes there and back again. Up to 160 samples of a split differ
    in what is said of them. A group is what moves whereto, in whatever words. The split `shuffled` are the videos of
    `test` with their frames in another order; there, a group is what moves, wherever it goes.
    """

    fields: ClassVar[dict[str, str]] = {
        "video": "video",
        "caption": "text",
        "direction": "label",
        "digit": "label",
        "colour": "label",
    }
    splits = ("train", "validation", "test", "shuffled")

    class Config(Drawn.Config):
        """Where handwriting comes from, and how much there is."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        train: int = 3000
        """Samples of the training split."""
        held_out: int = 64
        """Samples of each other split."""
        side: int = 24
        """S, in pixels."""
        frames: int = 8
        """F."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.side - 15, self.frames - 1) < 1:
                raise ValueError("train and held_out are at least 1, side at least 16, frames at least 2.")
            check_source(self.source)

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Moving(split, self.config)


class Moving(DrawnSplit):
    """One split of the world."""

    homes: ClassVar[dict[str, str]] = {"shuffled": "test"}
    config: DigitsMoving.Config

    def __init__(self, split: str, config: DigitsMoving.Config) -> None:
        super().__init__(split, config)
        self.source = handwriting(config.source, self.home)
        self.pool = pool_of(self.source, self.home)
        self.pairs = self.random(0, 1).permutation(len(KINDS) // 2)

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a video and what is said of it."""
        colour, digit, direction = KINDS[2 * self.pairs[index // 2 % len(self.pairs)] + index % 2]
        ink = np.asarray(self.source[int(random.choice(self.pool[digit]))]["image"])
        frames = moving(ink, COLOURS[colour], DIRECTIONS[direction], self.config.side, self.config.frames, random)
        caption = WORDS[random.integers(len(WORDS))].format(colour=colour, digit=digit, direction=direction)
        group = f"{colour} {digit}" if self.split == "shuffled" else f"{colour} {digit} {direction}"
        if self.split == "shuffled":
            frames = frames[random.permutation(len(frames))]
        return {
            "group": group,
            "video": (frames, RATE),
            "caption": caption,
            "direction": direction,
            "digit": digit,
            "colour": colour,
        }


def moving(
    ink: NDArray[np.uint8], colour: Any, step: tuple[int, int], side: int, frames: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """Returns the video of a digit that moves, (F, S, S, 3).

    Args:
        ink: The handwriting, (h, w), 0 for paper and 255 for ink.
        colour: Red, green and blue of the ink.
        step: Rows and columns of a step.
        side: S, in pixels.
        frames: F.
        random: How large the digit is, how far it goes, where its way lies, and the noise.
    """
    size = round(side * random.uniform(0.4, 0.5))
    grown = resized(ink.astype(np.float64) / 255, size)[..., None] * colour
    free = side - size
    way = random.uniform(0.6, 0.95) * free
    middle = np.array([random.uniform(way / 2, free - way / 2), random.uniform(way / 2, free - way / 2)])
    places = middle + np.linspace(-way / 2, way / 2, frames)[:, None] * step
    video = random.normal(0, NOISE, (frames, side, side, 3))
    for frame, (row, column) in zip(video, places.round().astype(int), strict=True):
        frame[row : row + size, column : column + size] += grown
    drawn: NDArray[np.uint8] = video.clip(0, 255).astype(np.uint8)
    return drawn
