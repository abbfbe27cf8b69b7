"""The world `spoken_sequences`: a voice says a few digits one after another, and a sentence names them."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from itertools import product
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Sample, Split, UserError
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.formants import RATE
from sensorium_worlds.scene import DIGITS
from sensorium_worlds.speech import Take, chosen, speech

WORD = 0.7
"""Seconds of a take; what is longer is cut."""
HELD = 0.2
"""Share of the sequences of each length that only the validation split has, and of those that only the test has."""
LONGEST = 4
"""Digits of the longest sequences there are: 10,000 of them."""


class SpokenSequences(Drawn):
    """Two or three digits that one voice says one after another, at any time of a clip.

    `caption` names them in their order, `digits` which there are. No two splits share a take, nor a sequence of digits:
    to know which ones are common does not help. Beside the fields, `spans` tells when each digit is said, from a
    beginning to an end, as shares of the clip, and `speaker` who says it.
    """

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "caption": "text", "digits": "tags"}

    class Config(Drawn.Config):
        """Whose speech it is, and how long."""

        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        least: int = 2
        """Fewest digits of a clip."""
        most: int = 3
        """Most digits of a clip."""
        seconds: float = 2.5
        """Length of a clip."""
        pause: float = 0.1
        """Longest silence after a digit, in seconds, beside what the take itself has."""
        noise: float = 0.003
        """Deviation of white noise on the sound, of 1."""
        silent: bool = False
        """Whether nothing but noise is heard (control: what the sentences alone tell)."""

        def __post_init__(self) -> None:
            if not 2 <= self.least <= self.most <= LONGEST:
                raise ValueError(f"least and most lie between 2 and {LONGEST}, the least not above the most.")
            if min(self.train, self.held_out) < 1 or min(self.pause, self.noise) < 0:
                raise ValueError("train and held_out are at least 1, pause and noise at least 0.")
            if self.seconds < (needed := self.most * (WORD + self.pause)):
                raise ValueError(f"seconds is at least {needed:g}, for {self.most} digits.")

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Spoken(split, self.config)


class Spoken(DrawnSplit):
    """One split of the world."""

    config: SpokenSequences.Config

    def __init__(self, split: str, config: SpokenSequences.Config) -> None:
        super().__init__(split, config)
        self.speech = speech(config.recordings, config.seed)
        self.takes: dict[tuple[str, str], list[Take]] = {}
        for take in chosen(self.speech.takes, split):
            self.takes.setdefault((take.speaker, take.digit), []).append(take)
        speakers = sorted({speaker for speaker, _ in self.takes})
        self.speakers = [each for each in speakers if all((each, digit) in self.takes for digit in DIGITS)]
        if not self.speakers:
            raise UserError(
                f"Nobody says all ten digits in the split {split!r}.",
                f"Speakers are {', '.join(speakers)}.",
                "Fetch the whole Free Spoken Digit Dataset, or leave `recordings` out.",
            )
        self.sequences = {count: sequences(count, split, config.seed) for count in range(config.least, config.most + 1)}
        self.sounds = True

    def narrow(self, fields: Collection[str]) -> Spoken:
        """Returns the same samples, not spoken where nobody reads `audio`."""
        part = copy(self)
        part.sounds = "audio" in fields
        return part

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a clip, and the sentence about it."""
        told = self.sequences[int(random.integers(self.config.least, self.config.most + 1))]
        digits, speaker = told[int(random.integers(len(told)))], str(random.choice(self.speakers))
        found: Sample = {"caption": " ".join(digits), "digits": sorted(set(digits)), "speaker": speaker}
        return found | (self._said(speaker, digits, random) if self.sounds else {})

    def _said(self, speaker: str, digits: Collection[str], random: np.random.Generator) -> Sample:
        """Returns the sound of a sequence, and when each digit is said."""
        clip: NDArray[np.float32] = np.zeros(round(self.config.seconds * RATE), np.float32)
        words = []
        for digit in digits:
            takes = self.takes[speaker, digit]
            words.append(self.speech(takes[int(random.integers(len(takes)))])[: round(WORD * RATE)])
        pauses = random.integers(0, round(self.config.pause * RATE) + 1, len(words))
        spare = len(clip) - sum(map(len, words)) - int(pauses.sum())
        at, spans = int(random.integers(spare + 1)), []
        for word, pause in zip(words, pauses.tolist(), strict=True):
            clip[at : at + len(word)] = word
            spans.append([at / len(clip), (at + len(word)) / len(clip)])
            at += len(word) + pause
        noise = self.config.noise * random.standard_normal(len(clip), np.float32)
        return {"audio": (clip * (not self.config.silent) + noise, RATE), "spans": spans}


def sequences(count: int, split: str, seed: int) -> list[tuple[str, ...]]:
    """Returns the sequences of so many digits that a split has; the three splits share all there are."""
    every = list(product(DIGITS, repeat=count))
    order = np.random.default_rng([seed, count]).permutation(len(every))
    held = round(HELD * len(every))
    part = {"validation": slice(held), "test": slice(held, 2 * held), "train": slice(2 * held, None)}[split]
    return [every[place] for place in order[part]]
