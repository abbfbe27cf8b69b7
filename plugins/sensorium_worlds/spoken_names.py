"""The world `spoken_names`: a digit in a picture, and somebody who names it; or somebody who speaks, and no picture."""

from __future__ import annotations

from collections.abc import Collection
from copy import copy
from typing import Literal

import numpy as np

from sensorium import Dataset, Sample, Split, UserError
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.formants import RATE
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.scene import COLOURS, DIGITS, MIDDLE, Item, draw
from sensorium_worlds.speech import Take, chosen, speech

FIELDS = {"image": "image", "audio": "audio", "label": "label", "speaker": "label"}
SECONDS = 1.0
"""Length at which a take is cut; most are shorter."""


class SpokenNames(Drawn):
    """A handwritten digit in some colour, and its word as one of several people says it.

    `label` is the digit, `speaker` who says it. A sound is as long as the take.
    """

    fields = FIELDS

    class Config(Drawn.Config):
        """Where handwriting and speech come from, and who speaks."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        who: Literal["everybody", "voice", "others"] = "everybody"
        """Who speaks: all, the one that `voice` names, or all but that one."""
        voice: int = 1
        """One speaker, as a place from 0 among all by name."""
        pictures: bool = True
        """Whether there are pictures; without, there is speech alone."""
        side: int = 16
        """Rows and columns of a picture."""
        shuffle_pairs: bool = False
        """Whether training sounds belong to other pictures (control: nothing is there to learn); labels go along."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.side - 7) < 1:
                raise ValueError("train and held_out are at least 1, side at least 8.")
            check_source(self.source)

    config: Config

    def __init__(self, config: SpokenNames.Config) -> None:
        super().__init__(config)
        if not config.pictures:
            self.fields = {name: kind for name, kind in FIELDS.items() if name != "image"}  # type: ignore[misc]

    def draw(self, split: str) -> Split:
        """Returns one of the splits.

        Raises:
            UserError: There is no such speaker.
        """
        return Told(split, self.config, self.fields)


class Told(DrawnSplit):
    """One split of the world."""

    config: SpokenNames.Config

    def __init__(self, split: str, config: SpokenNames.Config, fields: Collection[str]) -> None:
        super().__init__(split, config)
        self.makes = frozenset(fields)
        self.source = handwriting(config.source, split)
        self.pool = pool_of(self.source, split)
        self.speech = speech(config.recordings, config.seed)
        names = sorted({take.speaker for take in self.speech.takes})
        if not 0 <= config.voice < len(names):
            raise UserError(f"There is no speaker {config.voice}.", f"0 to {len(names) - 1}: {', '.join(names)}.")
        own = {"everybody": (True, False), "voice": (True,), "others": (False,)}[config.who]
        self.takes: dict[str, list[Take]] = {digit: [] for digit in DIGITS}
        for take in chosen(self.speech.takes, split):
            if (take.speaker == names[config.voice]) in own:
                self.takes[take.digit].append(take)

    def narrow(self, fields: Collection[str]) -> Told:
        """Returns the same samples, without what nobody reads."""
        part = copy(self)
        part.makes = self.makes & frozenset(fields)
        return part

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a take, and a picture of the digit."""
        seen = said = str(random.choice(DIGITS))
        if self.config.shuffle_pairs and self.home == "train":
            said = str(self.random(index, 1).choice(DIGITS))
        take = self.takes[said][int(random.integers(len(self.takes[said])))]
        found: Sample = {"label": said, "speaker": take.speaker, "take": f"{said}/{take.speaker}/{take.number}"}
        written = int(random.choice(self.pool[seen]))
        if "image" in self.makes:
            item = Item(seen, str(random.choice(tuple(COLOURS))), MIDDLE, written)
            ink = np.asarray(self.source[written]["image"])
            found |= {"image": draw([item], [ink], self.config.side, random, cells=1).pixels, "written": written}
        if "audio" in self.makes:
            found["audio"] = (self.speech(take)[: round(SECONDS * RATE)], RATE)
        return found
