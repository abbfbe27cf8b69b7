"""The world `loud_and_quiet`: videos of spoken digits, the louder the larger; in some moments something else is heard.

Shapes: S side of a picture.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Dataset, Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.av import fitted
from sensorium_worlds.formants import RATE
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.scene import COLOURS, DIGITS, NOISE, resized
from sensorium_worlds.speech import Take, chosen, speech

SECONDS = 1.0
"""Length of a sound."""
QUIETEST, LOUDEST = -18.0, 0.0
"""Levels of what is heard, in dB; as loud as that is half of the picture's side high, and nearly all of it."""
FULL = 0.06
"""Root mean square of a sound of 0 dB."""
KEPT = 20_000
"""Samples of a split that stay in memory."""


class LoudAndQuiet(Drawn):
    """A coloured digit that is spoken, small where it is quiet and large where it is loud; or two quiet ones at once.

    Training samples are moments of videos: `moments` after one another show the same handwriting in the same colour.
    In the last `spoilt` of them something else is heard, of digits that are not seen, however loud. Held-out samples
    are moments of videos of their own, and none is spoilt. The split `together` shows two digits each, all others one.
    `things` are the digits that are seen, `heard` those that are heard.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "audio": "audio", "things": "tags", "heard": "tags"}
    splits = ("train", "validation", "test", "together")

    class Config(Drawn.Config):
        """Where handwriting and speech come from, and how much of what is heard is seen."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        side: int = 12
        """S, in pixels."""
        moments: int = 1
        """Samples of each training video."""
        spoilt: int = 0
        """Moments of each training video in which what is heard is not what is seen."""
        pairs: float = 0.0
        """Share of the training videos that show two digits."""
        shuffle_pairs: bool = False
        """Whether training sounds are of digits drawn at random (control: nothing is there to learn)."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.moments, self.side - 7) < 1:
                raise ValueError("train, held_out and moments are at least 1, side at least 8.")
            if not 0 <= self.spoilt < self.moments or not 0 <= self.pairs <= 1:
                raise ValueError("spoilt lies below moments, pairs between 0 and 1.")
            check_source(self.source)

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Aloud(split, self.config, self.fields)


class Aloud(DrawnSplit):
    """One split of the world."""

    homes: ClassVar[dict[str, str]] = {"together": "test"}
    config: LoudAndQuiet.Config

    def __init__(self, split: str, config: LoudAndQuiet.Config, fields: Collection[str]) -> None:
        super().__init__(split, config)
        self.makes = frozenset(fields)
        self.source = handwriting(config.source, self.home)
        self.pool = pool_of(self.source, self.home)
        self.speech = speech(config.recordings, config.seed)
        self.takes: dict[str, list[Take]] = {digit: [] for digit in DIGITS}
        for take in chosen(self.speech.takes, self.home):
            self.takes[take.digit].append(take)
        self.kept: dict[int, Sample] = {}

    def narrow(self, fields: Collection[str]) -> Aloud:
        """Returns the same samples, without what nobody reads."""
        part = copy(self)
        part.makes, part.kept = self.makes & frozenset(fields), {}
        return part

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a moment of a video; `random` is its own, what a video shows follows from the number of the video."""
        if index in self.kept:
            return {**self.kept[index]}
        moments = self.config.moments if self.home == "train" else 1
        video, moment = divmod(index, moments)
        of_video = self.random(video, 1)
        two = self.split == "together" or (self.home == "train" and of_video.random() < self.config.pairs)
        digits = [str(digit) for digit in of_video.permutation(DIGITS)]
        seen = digits[: 1 + two]
        inks = [np.asarray(self.source[int(of_video.choice(self.pool[digit]))]["image"]) for digit in seen]
        colours = [COLOURS[str(of_video.choice(tuple(COLOURS)))] for _ in seen]
        level = of_video.uniform(QUIETEST, LOUDEST)
        levels = [QUIETEST if two else level for _ in seen]
        heard, loud = seen, levels
        others: Collection[str] = ()
        if self.home == "train" and moment >= moments - self.config.spoilt:
            others = digits[len(seen) :]
        elif self.config.shuffle_pairs and self.home == "train":
            others = DIGITS
        if others:  # as loud as it is, too
            heard = [str(digit) for digit in random.permutation(list(others))[: len(seen)]]
            loud = [QUIETEST if two else random.uniform(QUIETEST, LOUDEST) for _ in heard]
        group = " ".join(sorted(seen)) if self.home != "train" else f"video {video}"
        found: Sample = {"group": group, "things": seen, "heard": heard}
        if "image" in self.makes:
            found["image"] = _drawn(inks, colours, levels, self.config.side, self.random(index, 2))
        if "audio" in self.makes:
            found["audio"] = (self._said(heard, loud, self.random(index, 3)), RATE)
        if len(self.kept) < KEPT:
            self.kept[index] = found
        return {**found}

    def _said(
        self, digits: Collection[str], levels: Collection[float], random: np.random.Generator
    ) -> NDArray[np.float32]:
        """Returns digits said at once, each at its level in dB, (T,)."""
        total = np.zeros(round(SECONDS * RATE), np.float32)
        for digit, level in zip(digits, levels, strict=True):
            sound = fitted(self.speech(self.takes[digit][int(random.integers(len(self.takes[digit])))]), SECONDS)
            total += FULL * 10 ** (level / 20) * sound / max(float(np.sqrt(np.mean(sound**2))), 1e-6)
        return total.clip(-1, 1)


def _drawn(
    inks: list[NDArray[np.uint8]],
    colours: list[tuple[int, int, int]],
    levels: list[float],
    side: int,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """Returns a picture (S, S, 3) of handwriting, one next to the other, as high as each is loud."""
    canvas = np.zeros((side, side, 3))
    width = side // len(inks)
    for place, (ink, colour, level) in enumerate(zip(inks, colours, levels, strict=True)):
        size = round(np.interp(level, (QUIETEST, LOUDEST), (side // 2, side - 1)))
        row, column = int(random.integers(side - size + 1)), int(random.integers(width - size + 1)) + place * width
        canvas[row : row + size, column : column + size] += (
            resized(ink.astype(np.float64) / 255, size)[..., None] * colour
        )
    canvas += random.normal(0, NOISE, canvas.shape)
    return canvas.clip(0, 255).astype(np.uint8)
