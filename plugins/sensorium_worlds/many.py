"""The world `digits_many`: a coloured digit that is seen, named, spoken, felt as relief and warmth, and written.

Every record is a function of seed, split and index alone, so that workers make their own.

Shapes: S side of a picture.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from copy import copy
from typing import Literal

import numpy as np

from sensorium import Dataset, Sample, Split
from sensorium_worlds import words
from sensorium_worlds.av import fitted
from sensorium_worlds.formants import RATE
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.pen import written
from sensorium_worlds.scene import COLOURS, DIGITS, MIDDLE, PLACES, Item, draw, resized
from sensorium_worlds.sensed import distances, temperatures
from sensorium_worlds.speech import Take, chosen, speech

KINDS = {
    "image": "image",
    "caption": "text",
    "audio": "audio",
    "depth": "depth",
    "thermal": "thermal",
    "imu": "series",
    "scene": "image",
    "digit": "label",
    "colour": "label",
}
"""Field -> modality, of a sample that has everything."""
DEALT = (*4 * ("caption", "depth", "caption", "thermal"), "caption", "depth", "audio", "imu")
"""To which pairs the handwriting of each digit goes, in turn. Sounds and readings look at few pictures: what they have
to learn are takes and movements, which are their own."""
SECONDS = 1.0
"""Length of a sound."""
IN_SCENE = 3
"""Digits of a scene."""
KEPT = 20_000
"""Samples of a split that stay in memory."""


class DigitsMany(Dataset):
    """A picture of a coloured digit with one thing more (`pair`), or with everything that there is of it.

    Pairs are for training; no two of them share handwriting. Validation and test have everything, and a scene: three
    digits on a canvas, of which the sample's own is the first of `boxes`. Depth is in metres, warmth in degrees
    Celsius; `imu` is what a pen feels in m/s² and rad/s.
    """

    class Config(Dataset.Config):
        """Where handwriting and speech come from, what makes a pair, and how many there are."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        pair: Literal["caption", "audio", "depth", "thermal", "imu"] | None = None
        """What comes with the picture, in the split `train`; None has everything, in `validation` and `test`."""
        count: int = 2000
        """Samples of each split."""
        cell: int = 12
        """S, in pixels."""
        shuffle_pairs: bool = False
        """Whether what comes with the picture is that of another one (control: nothing is there to learn)."""
        seed: int = 0
        """Seed of the world."""

        def __post_init__(self) -> None:
            if self.count < 1 or self.cell < 8:
                raise ValueError("count is at least 1, cell at least 8.")
            check_source(self.source)

    config: Config

    def __init__(self, config: DigitsMany.Config) -> None:
        super().__init__(config)
        self.splits = ("validation", "test") if config.pair is None else ("train",)
        there = tuple(KINDS) if config.pair is None else ("image", config.pair)
        if config.pair == "caption":  # who learns words knows what may be named
            there = (*there, "digit", "colour")
        self.fields = {name: KINDS[name] for name in there}  # type: ignore[misc]

    def open(self, split: str) -> Split:
        """Returns one split."""
        return Many(split, self.config, self.fields)


class Many:
    """One split of the world."""

    def __init__(self, split: str, config: DigitsMany.Config, fields: Collection[str]) -> None:
        self.split, self.config, self.makes = split, config, frozenset(fields)
        self.source = handwriting(config.source, split)
        self.pool = pool_of(self.source, split)
        if config.pair is not None:
            self.pool = {digit: _dealt(places, config.pair) for digit, places in self.pool.items()}
        self.speech = speech(config.recordings, config.seed)
        self.takes: dict[str, list[Take]] = {digit: [] for digit in DIGITS}
        for take in chosen(self.speech.takes, split):
            self.takes[take.digit].append(take)
        self.kept: dict[int, Sample] = {}
        self.others = self._random("pairs").permutation(config.count) if config.shuffle_pairs else range(config.count)

    def __len__(self) -> int:
        return self.config.count

    def narrow(self, fields: Collection[str]) -> Many:
        """Returns the same samples, without what nobody reads."""
        part = copy(self)
        part.makes, part.kept = self.makes & frozenset(fields), {}
        return part

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index not in self.kept:
            sample = self._sample(index)
            if len(self.kept) >= KEPT:
                return sample
            self.kept[index] = sample
        return {**self.kept[index]}

    def _sample(self, index: int) -> Sample:
        item, other = self._item(index), self._item(int(self.others[index]))
        sample: Sample = {"id": f"{self.config.pair or self.split}/{index}"}
        told = words.captions([other])
        caption = told[int(self._random(index, 1).integers(len(told)))]
        if self.config.pair in (None, "caption"):
            sample |= {"caption": caption, "digit": item.digit, "colour": item.colour, "group": told[0]}
        if self.makes & {"image", "depth", "thermal"}:
            sample |= self._seen(item, other, index)
        if "audio" in self.makes:
            takes = self.takes[other.digit]
            take = takes[int(self._random(index, 2).integers(len(takes)))]
            sample["audio"] = (fitted(self.speech(take), SECONDS), RATE)
        if "imu" in self.makes:
            sample["imu"] = written(other.digit, self._random(index, 3))
        if "scene" in self.makes:
            sample |= self._scene(item, index)
        return sample

    def _item(self, index: int) -> Item:
        random = self._random(index)
        digit, colour = str(random.choice(DIGITS)), str(random.choice(tuple(COLOURS)))
        return Item(digit, colour, MIDDLE, int(random.choice(self.pool[digit])))

    def _ink(self, item: Item) -> np.ndarray:  # type: ignore[type-arg]
        return np.asarray(self.source[item.sample]["image"])

    def _seen(self, item: Item, other: Item, index: int) -> Sample:
        """Returns the picture, and relief and warmth that lie over it."""
        side = self.config.cell
        drawing = draw([item], [self._ink(item)], side, self._random(index, 4), 1)
        left, top, right, bottom = drawing.boxes[0]
        ink = np.zeros((side, side))
        ink[top:bottom, left:right] = resized(self._ink(other).astype(np.float64) / 255, right - left)
        seen: Sample = {"image": drawing.pixels}
        if "depth" in self.makes:
            seen["depth"] = distances(ink, self._random(index, 5))
        if "thermal" in self.makes:
            seen["thermal"] = temperatures(ink, self._random(index, 6))
        return seen

    def _scene(self, item: Item, index: int) -> Sample:
        """Returns the sample's digit among two others, with the box of each as shares of the canvas's side."""
        random = self._random(index, 7)
        others = random.permutation([digit for digit in DIGITS if digit != item.digit])[: IN_SCENE - 1]
        places = random.permutation(PLACES)
        items = [Item(item.digit, item.colour, str(places[0]), item.sample)] + [
            Item(str(digit), str(random.choice(tuple(COLOURS))), str(place), int(random.choice(self.pool[str(digit)])))
            for digit, place in zip(others, places[1:], strict=False)
        ]
        drawing = draw(items, [self._ink(each) for each in items], self.config.cell, random)
        boxes = [tuple(edge / len(drawing.pixels) for edge in box) for box in drawing.boxes]
        return {"scene": drawing.pixels, "boxes": boxes}

    def _random(self, place: int | str, *more: int) -> np.random.Generator:
        number = zlib.crc32(place.encode()) if isinstance(place, str) else place
        name = f"{self.config.pair} {self.split}"
        return np.random.default_rng([self.config.seed, zlib.crc32(name.encode()), number, *more])


def _dealt(places: list[int], pair: str) -> list[int]:
    """Returns the handwriting of a digit that a pair draws from; a digit that is rarer than pairs gives each one."""
    own = [place for number, place in enumerate(places) if DEALT[number % len(DEALT)] == pair]
    return own or places[-1:]
