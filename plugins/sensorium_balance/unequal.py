"""The world `unequal`: two vectors tell the class equally well, and one of them is a hundred times larger.

Shapes: C classes, D1 channels of the large vector, D2 of the small one.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sensorium import Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit


class Unequal(Drawn):
    """Class means with noise, in two vectors; `spoilt` are the test samples, whose large vector is noise alone.

    The means of a class lie apart by the same multiple of the noise in both, so that each vector by itself tells it
    equally well.
    """

    fields: ClassVar[dict[str, str]] = {"large": "vector", "small": "vector", "label": "label"}
    splits = ("train", "validation", "test", "spoilt")

    class Config(Drawn.Config):
        """Sizes."""

        classes: int = 8
        """C."""
        large: int = 1024
        """D1."""
        small: int = 8
        """D2."""
        distance: float = 6.0
        """How far the means of two classes lie apart, over the deviation of the noise along any direction."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.classes - 1, self.large, self.small) < 1 or self.distance <= 0:
                raise ValueError(
                    "train, held_out, large and small are at least 1, classes at least 2, distance above 0."
                )
            if self.classes > min(self.large, self.small):
                raise ValueError("classes are at most as many as the channels of the smaller vector.")

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Vectors(split, self.config)


class Vectors(DrawnSplit):
    """One split of the world."""

    homes: ClassVar[dict[str, str]] = {"spoilt": "test"}
    config: Unequal.Config

    def __init__(self, split: str, config: Unequal.Config) -> None:
        super().__init__(split, config)
        random = np.random.default_rng([config.seed, 1])
        self.means = {}
        for name, size in (("large", config.large), ("small", config.small)):
            turned, _ = np.linalg.qr(random.normal(size=(size, config.classes)))
            self.means[name] = turned.T * config.distance / 2**0.5  # the distance of two axes is the root of 2

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns the class, and both vectors."""
        chosen = int(random.integers(self.config.classes))
        sample: Sample = {"label": str(chosen)}
        for name, means in self.means.items():
            told = means[chosen] * (self.split != "spoilt" or name == "small")
            sample[name] = (told + random.normal(size=means.shape[1])).astype(np.float32)
        return sample
