"""The dataset of scenes: coloured digits on a canvas, drawn from real handwriting.

Every record is a function of seed, split and index alone, so that workers make their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from dataclasses import field
from typing import ClassVar, Literal

import numpy as np

from sensorium import Dataset, Sample, Split, UserError
from sensorium_worlds import words
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.scene import COLOURS, DIGITS, MIDDLE, PLACES, Item, draw

_ALL = tuple((colour, digit) for colour in COLOURS for digit in DIGITS)
_QUESTIONS = 1 << 40
"""Offset of the generators that make questions, away from those that make scenes."""
KEPT = 20_000
"""Scenes of a split that stay in memory, about 100 MB."""
TRIES = 1000
"""Questions that are thrown away at most before one fits the scenes of a split."""


class DigitsCanvas(Dataset):
    """One to three coloured digits on a canvas of four cells, with captions, tags, boxes and a question.

    Where scenes may hold several digits, the scenes of an even index and the next are asked the same and answer
    otherwise. A box holds left, top, right and bottom of a digit, as shares of the canvas's side.
    """

    fields: ClassVar[dict[str, str]] = {
        "image": "image",
        "caption": "text",
        "question": "text",
        "answer": "label",
        "tags": "tags",
        "things": "tags",
        "properties": "tags",
        "attributes": "tags",
        "label": "label",
        "digit": "label",
        "colour": "label",
    }
    splits = ("train", "validation", "test", "complete")

    class Config(Dataset.Config):
        """Where handwriting comes from, how many scenes are drawn, and what is in them."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        train: int = 4000
        """Scenes of the training split."""
        held_out: int = 500
        """Scenes of the validation and of the test split."""
        least: int = 1
        """Fewest digits in a scene."""
        most: int = 3
        """Most digits in a scene, of four cells."""
        cell: int = 16
        """Side of a cell, in pixels."""
        cells: Literal[1, 2] = 2
        """Cells along each side of the canvas; with one, a scene is one digit and no place is named."""
        seed: int = 0
        """Seed of the world."""
        unseen: list[str] = field(default_factory=list)
        """Combinations such as `red three` that the training split does not show, and the test split alone shows;
        the split `complete` shows the training handwriting in all combinations, for a judge of what is drawn."""

        def __post_init__(self) -> None:
            most = self.cells**2
            if not 1 <= self.least <= self.most <= most:
                raise ValueError(f"least and most lie between 1 and {most}, the least not above the most.")
            if min(self.train, self.held_out, self.cell - 7) < 1:
                raise ValueError("train and held_out are at least 1, cell at least 8.")
            check_source(self.source)
            for combination in self.unseen:
                if tuple(combination.split()) not in _ALL:
                    raise ValueError(f"unseen: {combination!r} is not a colour and a digit, such as 'red three'.")
            if len(set(self.unseen)) == len(_ALL):
                raise ValueError("unseen names every combination: none is left for the training split.")

    config: Config

    def open(self, split: str) -> Split:
        """Returns one split.

        Raises:
            UserError: The source lacks a digit.
        """
        return Scenes(split, self.config)


class Scenes:
    """One split of the world."""

    def __init__(self, split: str, config: DigitsCanvas.Config) -> None:
        self.split, self.config = split, config
        self.source = handwriting(config.source, split)
        self.pool = pool_of(self.source, split)
        missing = [digit for digit in DIGITS if digit not in self.pool]
        if missing:
            raise UserError(
                f"The source of digits_canvas has no {', '.join(missing)} in {split}.",
                "Its field `label` holds zero to nine, or 0 to 9.",
                "Set dataset.source to digits or mnist.",
            )
        every = set(_ALL)
        unseen = {each for each in _ALL if " ".join(each) in config.unseen}
        allowed = unseen if unseen and split == "test" else every if split == "complete" else every - unseen
        self.allowed = sorted(allowed)
        self._records: dict[int, Sample] = {}

    def __len__(self) -> int:
        return self.config.train if self.split in ("train", "complete") else self.config.held_out

    def narrow(self, fields: Collection[str]) -> Split:
        """Returns the same scenes, not drawn where nobody reads `image`."""
        return self if "image" in fields else Undrawn(self)

    def __getitem__(self, index: int) -> Sample:
        record = self.told(index)
        if "image" not in record:
            record = {**record, **self._picture(index, record)}
            if index in self._records:  # to draw it again in each epoch would hold up small models
                self._records[index] = record
        return record

    def told(self, index: int) -> Sample:
        """Returns a scene, maybe without its picture."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        if index in self._records:
            return self._records[index]
        record = self._record(index)
        if len(self._records) < KEPT:
            self._records[index] = record
        return record

    def _record(self, index: int) -> Sample:
        random = self._random(index)
        question = self._question(index)
        items = self._items(question, random)
        spoken = words.captions(items)
        first = items[0]
        return {
            "id": f"{self.split}/{index}",
            "caption": spoken[int(random.integers(len(spoken)))],
            "captions": spoken,
            "group": spoken[0],
            "tags": words.tags(items),
            "things": words.things(items),
            "properties": words.properties(items),
            "attributes": words.attributes(items),
            "question": question.text,
            "answer": question.answer,
            "type": question.kind,
            "label": first.digit,
            "digit": first.digit,
            "colour": first.colour,
            "scene": [vars(item) for item in items],
        }

    def _picture(self, index: int, record: Sample) -> Sample:
        items = [Item(**item) for item in record["scene"]]
        strokes = [np.asarray(self.source[item.sample]["image"]) for item in items]
        drawing = draw(items, strokes, self.config.cell, self._random(index, 1), self.config.cells)
        boxes = [tuple(edge / len(drawing.pixels) for edge in box) for box in drawing.boxes]
        return {"image": drawing.pixels, "boxes": boxes}

    def _items(self, question: words.Question, random: np.random.Generator) -> list[Item]:
        """Returns a scene of which the question has its answer, and only that one."""
        count = int(random.integers(self.config.least, self.config.most + 1))
        if question.kind == "count":
            count = words.COUNTS.index(question.answer) + 1
        wanted = None if question.absent else question.wanted
        drawn = [] if wanted is None else [(wanted.colour, wanted.digit)]
        others = self._others(question)
        while others and len(drawn) < count:
            drawn.append(others[int(random.integers(len(others)))])
        places = random.choice(PLACES if self.config.cells > 1 else (MIDDLE,), len(drawn), replace=False)
        return [
            Item(digit, colour, str(place), int(random.choice(self.pool[digit])))
            for (colour, digit), place in zip(drawn, places, strict=True)
        ]

    def _random(self, index: int, *more: int) -> np.random.Generator:
        return np.random.default_rng([self.config.seed, zlib.crc32(self.split.encode()), index, *more])

    def _question(self, index: int) -> words.Question:
        """Returns the question of a scene; those of an even index and the next are a pair, but for single digits.

        Raises:
            UserError: No question fits the scenes.
        """
        random = self._random(index // 2 + _QUESTIONS)
        for _ in range(TRIES):
            kind = words.TYPES[int(random.integers(len(words.TYPES)))]
            pair = words.pair(kind, random, max(self.config.most, 3))
            question = pair[index % 2]
            if all(map(self._fits, pair if self.config.most > 1 else [question])):
                return question
        raise UserError(
            f"No question has two answers in scenes of {self.config.least} to {self.config.most} digits.",
            f"The split {self.split!r} shows {len(self.allowed)} of {len(_ALL)} combinations of colour and digit.",
            "Set dataset.least below dataset.most, or change dataset.unseen.",
        )

    def _fits(self, question: words.Question) -> bool:
        """Returns whether a scene can be drawn of which the question has its answer."""
        wanted, others = question.wanted, self._others(question)
        if wanted is None:
            return self.config.least <= words.COUNTS.index(question.answer) + 1 <= self.config.most
        if question.absent:
            return bool(others)
        return (wanted.colour, wanted.digit) in self.allowed and (self.config.least == 1 or bool(others))

    def _others(self, question: words.Question) -> list[tuple[str, str]]:
        """Returns what else a scene may hold."""
        return [each for each in self.allowed if not _confuses(each, question)]


class Undrawn:
    """The scenes of a split, without their pictures."""

    def __init__(self, scenes: Scenes) -> None:
        self.scenes = scenes

    def __len__(self) -> int:
        return len(self.scenes)

    def __getitem__(self, index: int) -> Sample:
        return self.scenes.told(index)


def _confuses(each: tuple[str, str], question: words.Question) -> bool:
    """Returns whether another (colour, digit) in the scene would give the question another answer."""
    wanted = question.wanted
    if wanted is None:
        return False
    same = {"colour": each[1] == wanted.digit, "digit": each[0] == wanted.colour}
    return same.get(question.kind, question.absent and each == (wanted.colour, wanted.digit))
