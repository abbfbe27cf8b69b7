"""The world `which_is_heard`: several digits on a canvas, one of which is heard."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy

import numpy as np

from sensorium import Dataset, Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.av import fitted
from sensorium_worlds.formants import RATE
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.scene import COLOURS, DIGITS, PLACES, Item, draw
from sensorium_worlds.speech import Take, chosen, speech

FIELDS = {"image": "image", "audio": "audio", "absent": "audio", "label": "label", "things": "tags", "boxes": "boxes"}
SECONDS = 1.0
"""Length of a sound."""
KEPT = 20_000
"""Samples of a split that stay in memory."""


class WhichIsHeard(Drawn):
    """A canvas of different digits, and one of them spoken.

    `label` is the digit that is spoken, `things` are those that are seen, `absent` is the sound of one that is not.
    `boxes` holds the box around the one that is spoken. Beside the fields, `everything` has the box of each, that one
    first.
    """

    fields = FIELDS

    class Config(Drawn.Config):
        """Where handwriting and speech come from, and what is told."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        digits: int = 3
        """Digits on a canvas, of four cells."""
        cell: int = 20
        """Side of a cell, in pixels."""
        different: int | None = None
        """Training samples that differ; they come again until there are `train`. None makes each another."""
        boxes: bool = True
        """Whether it is told where the digit is that is heard."""
        shuffle_pairs: bool = False
        """Whether training sounds belong to other pictures (control: nothing is there to learn)."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.cell - 7) < 1:
                raise ValueError("train and held_out are at least 1, cell at least 8.")
            if self.different is not None and self.different < 1:
                raise ValueError("different is at least 1.")
            if not 1 <= self.digits <= len(PLACES):
                raise ValueError(f"digits lies between 1 and {len(PLACES)}.")
            check_source(self.source)

    config: Config

    def __init__(self, config: WhichIsHeard.Config) -> None:
        super().__init__(config)
        if not config.boxes:
            self.fields = {name: kind for name, kind in FIELDS.items() if name != "boxes"}  # type: ignore[misc]

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Sounding(split, self.config, self.fields)


class Sounding(DrawnSplit):
    """One split of the world."""

    config: WhichIsHeard.Config

    def __init__(self, split: str, config: WhichIsHeard.Config, fields: Collection[str]) -> None:
        super().__init__(split, config)
        self.makes = frozenset(fields)
        self.source = handwriting(config.source, split)
        self.pool = pool_of(self.source, split)
        self.speech = speech(config.recordings, config.seed)
        self.takes: dict[str, list[Take]] = {digit: [] for digit in DIGITS}
        for take in chosen(self.speech.takes, split):
            self.takes[take.digit].append(take)
        self.kept: dict[int, Sample] = {}

    def narrow(self, fields: Collection[str]) -> Sounding:
        """Returns the same samples, without what nobody reads."""
        part = copy(self)
        part.makes, part.kept = self.makes & frozenset(fields), {}
        return part

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a canvas, and what is heard of it."""
        if self.config.different is not None and self.home == "train" and index >= self.config.different:
            first = index % self.config.different
            return self.sample(first, self.random(first))
        if index in self.kept:
            return self.kept[index]
        digits = [str(digit) for digit in random.permutation(DIGITS)]
        seen, absent = digits[: self.config.digits], digits[self.config.digits % len(digits)]
        places = random.permutation(PLACES)
        items = [
            Item(digit, str(random.choice(tuple(COLOURS))), str(place), int(random.choice(self.pool[digit])))
            for digit, place in zip(seen, places, strict=False)
        ]
        heard = seen[0]
        if self.config.shuffle_pairs and self.home == "train":
            heard = DIGITS[int(self.random(index, 1).integers(len(DIGITS)))]
        found: Sample = {"group": heard, "label": heard, "things": seen}
        if self.makes & {"image", "boxes"}:
            inks = [np.asarray(self.source[item.sample]["image"]) for item in items]
            drawing = draw(items, inks, self.config.cell, self.random(index, 2))
            found |= {"image": drawing.pixels, "everything": [list(box) for box in drawing.boxes]}
            if "boxes" in self.makes:
                found["boxes"] = [list(drawing.boxes[0])]
        for turn, (name, digit) in enumerate((("audio", heard), ("absent", absent))):
            if name in self.makes:
                takes = self.takes[digit]
                take = takes[int(self.random(index, 3, turn).integers(len(takes)))]
                found[name] = (fitted(self.speech(take), SECONDS), RATE)
        if len(self.kept) < KEPT:
            self.kept[index] = found
        return found
