"""The world `people`: who somebody is shapes the voice and the face, and half of the face is not in the voice.

Shapes: T samples of sound, S side of a picture.
"""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Sample, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.av import fitted
from sensorium_worlds.formants import RATE, Voice, say
from sensorium_worlds.portrait import Features, Look, photograph, portrait
from sensorium_worlds.scene import DIGITS

HEARD = ("jaw", "brows", "beard")
"""Features of the face that the voice has too."""
UNHEARD = ("hair", "eyes", "lips")
"""Features of the face alone."""
WORDS = 4
"""Digits that somebody says in a recording, as far as there is time."""
KEPT = 6000
"""Samples of a split that stay in memory."""


class People(Drawn):
    """Somebody's voice, saying digits, and somebody's face: as photographed, and as in a passport.

    A broad jaw has a long throat, whose formants are low; thick brows have a low pitch, and a beard comes with a
    breathy, dull voice. Hair, eyes and lips are the face's own, pace and melody the voice's. In the other splits each
    sample is somebody else, whom the training does not know. `identity` says who it is.
    """

    fields: ClassVar[dict[str, str]] = {
        "audio": "audio",
        "image": "image",
        "passport": "image",
        "identity": "label",
        **dict.fromkeys((*HEARD, *UNHEARD), "number"),
    }

    class Config(Drawn.Config):
        """How many there are, and what is seen and heard of them."""

        train: int = 3600
        """Samples of the training split."""
        held_out: int = 240
        """People, and samples, of each other split."""
        known: int = 600
        """People of the training split, each with as many recordings and photographs."""
        seconds: float = 1.5
        """Length of a recording."""
        side: int = 40
        """Side of a picture, in pixels."""
        shuffle_pairs: bool = False
        """Whether training voices belong to other people (control: nothing is there to learn)."""

        def __post_init__(self) -> None:
            if min(self.held_out, self.known, self.side - 15) < 1 or self.train < self.known or self.seconds <= 0:
                raise ValueError(
                    "known and held_out are at least 1, train at least known, side at least 16, seconds above 0."
                )

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Met(split, self.config)


class Met(DrawnSplit):
    """One split of the world."""

    config: People.Config

    def __init__(self, split: str, config: People.Config) -> None:
        super().__init__(split, config)
        self.makes: Collection[str] = People.fields
        self.people = config.known if split == "train" else config.held_out
        self.kept: dict[int, Sample] = {}

    def narrow(self, fields: Collection[str]) -> Met:
        """Returns the same samples, without what nobody reads."""
        part = copy(self)
        part.makes, part.kept = frozenset(fields), {}
        return part

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a recording and a photograph of somebody."""
        if index in self.kept:
            return self.kept[index]
        who = index % self.people
        face, _ = self.person(who)
        found: Sample = {"group": f"{self.home}/{who}", "identity": f"{self.home}/{who}", **vars(face)}
        if "image" in self.makes:
            found["image"] = photograph(face, self.random(index, 1), self.config.side)
        if "passport" in self.makes:
            found["passport"] = portrait(face, Look(), self.config.side).round().astype(np.uint8)
        if "audio" in self.makes:
            other = int(self.random(index, 2).integers(self.people)) if self._shuffled else who
            found["audio"] = (self.recording(self.person(other)[1], random), RATE)
        if len(self.kept) < KEPT:
            self.kept[index] = found
        return found

    @property
    def _shuffled(self) -> bool:
        return self.config.shuffle_pairs and self.home == "train"

    def person(self, who: int) -> tuple[Features, Voice]:
        """Returns the face and the voice of somebody."""
        random = self.random(who, 3)
        face = Features(*random.uniform(-1, 1, 6).tolist())
        fall, pace = random.uniform((0.05, 0.85), (0.3, 1.15)).tolist()
        return face, Voice(
            name=str(who),
            pitch=150 * 2 ** (-0.8 * face.brows),
            fall=fall,
            size=1.01 * 1.25**-face.jaw,
            pace=pace,
            breath=0.03 * 8**face.beard,
            tilt=1.1 + 0.5 * face.beard,
        )

    def recording(self, voice: Voice, random: np.random.Generator) -> NDArray[np.float32]:
        """Returns what a voice says, (T,) in [-1, 1]: digits, one after the other."""
        words = [say(str(digit), voice, random) for digit in random.choice(DIGITS, WORDS)]
        return fitted(np.concatenate(words), self.config.seconds)
