"""The world `two_vectors`: the class is told by each of two vectors; one may be larger, or noisier, than the other.

Shapes: C classes, D channels of a vector.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sensorium import Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit


class TwoVectors(Drawn):
    """Class means with noise, in two vectors; in the test samples of the split `spoilt` the first one is noise alone.

    Vectors whose means lie as far apart tell the class equally well, of whatever size they are.
    """

    fields: ClassVar[dict[str, str]] = {"first": "vector", "second": "vector", "label": "label"}
    splits = ("train", "validation", "test", "spoilt")

    class Config(Drawn.Config):
        """Sizes, and how hard it is to tell the class."""

        classes: int = 8
        """C."""
        first: int = 64
        """Channels of the first vector."""
        second: int = 64
        """Channels of the second one."""
        first_apart: float = 6.0
        """How far the means of two classes lie apart in the first vector, over the deviation of the noise along any
        direction."""
        second_apart: float = 6.0
        """The same in the second one."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.classes - 1) < 1 or min(self.first_apart, self.second_apart) <= 0:
                raise ValueError(
                    "train and held_out are at least 1, classes at least 2, first_apart and second_apart above 0."
                )
            if self.classes > min(self.first, self.second):
                raise ValueError("classes are at most as many as the channels of the smaller vector.")

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Vectors(split, self.config)


class Vectors(DrawnSplit):
    """One split of the world."""

    homes: ClassVar[dict[str, str]] = {"spoilt": "test"}
    config: TwoVectors.Config

    def __init__(self, split: str, config: TwoVectors.Config) -> None:
        super().__init__(split, config)
        random = np.random.default_rng([config.seed, 1])
        self.means = {}
        for name, size, apart in (
            ("first", config.first, config.first_apart),
            ("second", config.second, config.second_apart),
        ):
            turned, _ = np.linalg.qr(random.normal(size=(size, config.classes)))
            self.means[name] = turned.T * apart / 2**0.5  # the distance of two axes is the root of 2

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns the class, and both vectors."""
        chosen = int(random.integers(self.config.classes))
        sample: Sample = {"label": str(chosen)}
        for name, means in self.means.items():
            told = means[chosen] * (self.split != "spoilt" or name == "second")
            sample[name] = (told + random.normal(size=means.shape[1])).astype(np.float32)
        return sample
