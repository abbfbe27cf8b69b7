"""A world in which one sentence has two kinds of picture: it names a digit, which is drawn in red or in blue.

What answers with the mean of all pictures draws neither; what draws from their distribution draws both.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from sensorium import Dataset, Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.scene import DIGITS, MIDDLE, Item, draw

KINDS = ("red", "blue")
"""The colours, of which no sentence says one."""
SENTENCES = ("a {}", "there is a {}", "one {}", "a picture of a {}")


class DigitsEither(Drawn):
    """Handwritten digits in red or blue, each as often, with sentences that do not say which."""

    fields: ClassVar[dict[str, str]] = {"image": "image", "caption": "text", "digit": "label", "colour": "label"}

    class Config(Drawn.Config):
        """Where handwriting comes from, and how many pictures are drawn."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        side: int = 12
        """Rows and columns of a picture."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.side - 7) < 1:
                raise ValueError("train and held_out are at least 1, side at least 8.")
            check_source(self.source)

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Pictures(split, self.config)


class Pictures(DrawnSplit):
    """One split of the world."""

    config: DigitsEither.Config

    def __init__(self, split: str, config: DigitsEither.Config) -> None:
        super().__init__(split, config)
        self.source = handwriting(config.source, split)
        self.pool = pool_of(self.source, split)

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a picture and a sentence."""
        digit, colour = DIGITS[int(random.integers(len(DIGITS)))], KINDS[int(random.integers(len(KINDS)))]
        item = Item(digit, colour, MIDDLE, int(random.choice(self.pool[digit])))
        sentence = SENTENCES[int(random.integers(len(SENTENCES)))].format(digit)
        stroke = np.asarray(self.source[item.sample]["image"])
        return {
            "image": draw([item], [stroke], self.config.side, random, cells=1).pixels,
            "caption": sentence,
            "group": digit,
            "digit": digit,
            "colour": colour,
        }
