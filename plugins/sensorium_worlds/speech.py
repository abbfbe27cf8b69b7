"""Who says which digit how often: recordings of people, or voices made by rule."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
from numpy.typing import NDArray

from sensorium import MediaError, UserError, expanded
from sensorium_worlds.formants import RATE, VOICES, say
from sensorium_worlds.scene import DIGITS

NAME = re.compile(r"(\d)_(.+)_(\d+)\.wav")
"""{digit}_{speaker}_{take}.wav, as the Free Spoken Digit Dataset names its files."""
TEST = range(5)
"""Takes of each digit and speaker that are the test split, as that dataset says."""
HELD = 0.1
"""Share of the other takes, the last ones, that only the validation split has."""
TAKES = 50
"""How often each voice made by rule says each digit."""
CACHED = 4096
"""Takes kept in memory, 16 kB each."""


@dataclass(frozen=True, order=True)
class Take:
    """One time that somebody says a digit.

    Attributes:
        digit: Its word.
        speaker: Name of who says it.
        number: Of the time.
    """

    digit: str
    speaker: str
    number: int


class Speech(Protocol):
    """Spoken digits."""

    kind: str
    """`recorded` or `synthesised`."""

    @property
    def takes(self) -> Sequence[Take]:
        """All there is, in order."""

    def __call__(self, take: Take) -> NDArray[np.float32]:
        """Returns the sound of a take, (T,) in [-1, 1], at 8,000 Hz."""


class Recorded:
    """The recordings of a copy of the Free Spoken Digit Dataset (Jackson et al. 2016).

    Raises:
        UserError: There are none.
    """

    kind = "recorded"

    def __init__(self, folder: str) -> None:
        self.folder = Path(expanded(folder)) / "recordings"
        found = [NAME.fullmatch(path.name) for path in self.folder.glob("*.wav")]
        self.takes = sorted(Take(DIGITS[int(m[1])], m[2], int(m[3])) for m in found if m)
        if not self.takes:
            raise UserError(
                f"There are no recordings in {self.folder}.",
                "It holds files named {digit}_{speaker}_{take}.wav.",
                "Set `recordings` to a copy of the Free Spoken Digit Dataset, or leave it out.",
            )
        self._read = lru_cache(CACHED)(self._sound)

    def __call__(self, take: Take) -> NDArray[np.float32]:
        """Returns the sound of a take."""
        return self._read(take)

    def _sound(self, take: Take) -> NDArray[np.float32]:
        path = self.folder / f"{DIGITS.index(take.digit)}_{take.speaker}_{take.number}.wav"
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as cause:
            raise MediaError(
                f"{path} is not a readable sound ({cause.error_string}).",
                "A WAV file was expected.",
                "Fetch it again.",
            ) from cause
        if rate != RATE:
            raise UserError(f"{path} has {rate} samples a second.", f"{RATE} were expected.", "Resample it.")
        mono: NDArray[np.float32] = samples.mean(1)
        return mono


class Synthesised:
    """Six voices made by rule, each of which says every digit fifty times.

    Args:
        seed: What the takes follow from.
    """

    kind = "synthesised"

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.voices = {voice.name: voice for voice in VOICES}
        self.takes = sorted(
            Take(digit, name, number) for digit in DIGITS for name in self.voices for number in range(TAKES)
        )
        self._say = lru_cache(CACHED)(self._sound)

    def __call__(self, take: Take) -> NDArray[np.float32]:
        """Returns the sound of a take."""
        return self._say(take)

    def _sound(self, take: Take) -> NDArray[np.float32]:
        who, what = list(self.voices).index(take.speaker), DIGITS.index(take.digit)
        random = np.random.default_rng([self.seed, who, what, take.number])
        return say(take.digit, self.voices[take.speaker], random)


@lru_cache(4)  # all splits hear the same takes, which are made or read once
def speech(recordings: str | None, seed: int) -> Speech:
    """Returns the recordings of a folder, or voices made by rule where none is given."""
    return Synthesised(seed) if recordings is None else Recorded(recordings)


def chosen(takes: Sequence[Take], split: str) -> list[Take]:
    """Returns the takes of a split; no two of train, validation and test share any.

    Raises:
        UserError: There are none.
    """
    others: dict[tuple[str, str], list[int]] = {}
    for take in takes:
        if take.number not in TEST:
            others.setdefault((take.digit, take.speaker), []).append(take.number)
    held = {key: set(numbers[len(numbers) - _share(len(numbers)) :]) for key, numbers in others.items()}

    def home(take: Take) -> str:
        if take.number in TEST:
            return "test"
        return "validation" if take.number in held[take.digit, take.speaker] else "train"

    found = [take for take in takes if home(take) == split]
    if not found:
        raise UserError(
            f"There are no recordings for the split {split!r}.",
            f"Takes {TEST.start} to {TEST.stop - 1} are the test split, the others training and validation.",
            "Fetch the whole Free Spoken Digit Dataset, or leave `recordings` out.",
        )
    return found


def _share(count: int) -> int:
    """Returns how many of so many takes are held back for validation: one at least, where another is left."""
    return max(round(HELD * count), min(1, count - 1))
