"""What datasets share whose samples are drawn: each is a function of seed, split and index alone.

Workers therefore make their own, and nothing is stored.
"""

from __future__ import annotations

import zlib
from typing import ClassVar

import numpy as np

from sensorium import Dataset, Sample, Split


class Drawn(Dataset):
    """Data that are made up: worlds whose truth is known.

    A subclass names its fields, and other splits if it has them, and has `draw(split)`.
    """

    splits: tuple[str, ...] = ("train", "validation", "test")

    class Config(Dataset.Config):
        """How much there is."""

        train: int = 2000
        """Samples of the training split."""
        held_out: int = 500
        """Samples of each other split."""
        seed: int = 0
        """Seed of the world."""

    config: Config

    def open(self, split: str) -> Split:
        """Returns one split."""
        return self.draw(split)

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        raise NotImplementedError


class DrawnSplit:
    """One split of such data. A subclass has `sample(index, random)`."""

    homes: ClassVar[dict[str, str]] = {}
    """Split -> the one whose samples it shows in another way, with the same random numbers."""

    def __init__(self, split: str, config: Drawn.Config) -> None:
        self.split, self.config = split, config
        self.home = self.homes.get(split, split)

    def __len__(self) -> int:
        return self.config.train if self.home == "train" else self.config.held_out

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {"id": f"{self.split}/{index}", **self.sample(index, self.random(index))}

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a sample without its id."""
        raise NotImplementedError

    def random(self, index: int, *more: int) -> np.random.Generator:
        """Returns the random numbers of a sample; others for other numbers behind its index, of which a 0 is none."""
        return np.random.default_rng([self.config.seed, zlib.crc32(self.home.encode()), index, *more])
