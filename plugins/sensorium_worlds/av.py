"""The world `digits_av`: spoken digits, each with a picture of the same digit and a mouth that says it.

Every record is a function of seed, split and index alone, so that workers make their own.
"""

from __future__ import annotations

import zlib
from collections.abc import Collection
from copy import copy
from dataclasses import field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Dataset, Sample, Split
from sensorium_worlds.formants import RATE
from sensorium_worlds.handwriting import check_source, handwriting, pool_of
from sensorium_worlds.mouth import aperture, mouth, place, spread
from sensorium_worlds.scene import DIGITS
from sensorium_worlds.speech import Take, chosen, speech


class DigitsAV(Dataset):
    """Spoken digits with handwriting in front of stripes that tell the speaker's place, and a mouth's video.

    The split `few` holds a few samples of each digit from the training split, `taught` those of the digits that
    teachers are taught.
    """

    fields: ClassVar[dict[str, str]] = {
        "audio": "audio",
        "image": "image",
        "mouth": "video",
        "label": "label",
        "speaker": "label",
    }
    splits = ("train", "validation", "test", "few", "taught")

    class Config(Dataset.Config):
        """Where handwriting and speech come from, and how many samples there are."""

        source: Dataset.Config
        """A dataset of single digits with the fields `image` (h, w) and `label`: digits or mnist."""
        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        train: int = 4000
        """Samples of the training split."""
        held_out: int = 500
        """Samples of the validation and of the test split."""
        few: int = 10
        """Samples of each digit in the split `few`."""
        untaught: list[str] = field(default_factory=list)
        """Digits that the split `taught` does not have, such as `seven`; the others do."""
        seconds: float = 1.0
        """Length of the sound; longer takes are cut, the mouth is as long as the sound."""
        side: int = 16
        """Side of the picture, in pixels."""
        lips: int = 8
        """Side of the mouth's video, in pixels."""
        frame_rate: float = 25.0
        """Frames a second of the mouth's video."""
        image_noise: float = 0.0
        """Deviation of further noise on each pixel of the picture, of 255."""
        audio_noise: float = 0.0
        """Deviation of white noise on the sound, of 1."""
        seed: int = 0
        """Seed of the world."""
        shuffle_pairs: bool = False
        """Whether sounds are dealt out to other pictures at random (control: no sound says anything of its picture).
        Concerns the training split alone; the labels are those of the picture."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.few, self.side - 7, self.lips - 3) < 1:
                raise ValueError("train, held_out and few are at least 1, side at least 8, lips at least 4.")
            if min(self.image_noise, self.audio_noise) < 0:
                raise ValueError("image_noise and audio_noise are at least 0.")
            for digit in self.untaught:
                if digit not in DIGITS:
                    raise ValueError(f"untaught: {digit!r} is not a digit, such as 'seven'.")
            if set(self.untaught) == set(DIGITS):
                raise ValueError("untaught names every digit: none is left to teach.")
            check_source(self.source)
            check_film(self.seconds, self.frame_rate)

    config: Config

    def open(self, split: str) -> Split:
        """Returns one split.

        Raises:
            UserError: There is no recording where one is looked for.
        """
        return Spoken(split, self.config)


class Spoken:
    """One split of the world."""

    def __init__(self, split: str, config: DigitsAV.Config) -> None:
        self.split, self.config = split, config
        home = "train" if split in ("few", "taught") else split
        self.speech = speech(config.recordings, config.seed)
        self.speakers = sorted({take.speaker for take in self.speech.takes})
        self.source = handwriting(config.source, home)
        self.pool = pool_of(self.source, home)
        random = self._random("takes")
        without = config.untaught if split == "taught" else ()
        takes = [take for take in chosen(self.speech.takes, home) if take.digit not in without]
        shuffled = [takes[index] for index in random.permutation(len(takes))]
        if split == "few":
            self.takes = _few(shuffled, config.few)
        else:
            count = config.train if home == "train" else config.held_out
            self.takes = [shuffled[index % len(shuffled)] for index in range(count)]
        self.heard = self.takes
        if config.shuffle_pairs and split == "train":
            self.heard = [self.takes[index] for index in random.permutation(len(self.takes))]

        self.makes: Collection[str] = DigitsAV.fields

    def __len__(self) -> int:
        return len(self.takes)

    def narrow(self, fields: Collection[str]) -> Spoken:
        """Returns the same samples, without the sounds, pictures and mouths that nobody reads."""
        part = copy(self)
        part.makes = frozenset(fields)
        return part

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        seen, heard = self.takes[index], self.heard[index]
        random = self._random(index)
        written = int(random.choice(self.pool[seen.digit]))
        sample: Sample = {
            "id": f"{self.split}/{index}",
            "group": seen.digit,
            "label": seen.digit,
            "taught": seen.digit not in self.config.untaught,
            "speaker": seen.speaker,
            "written": written,
            "take": f"{heard.digit}/{heard.speaker}/{heard.number}",
            "speech": self.speech.kind,
        }
        if "image" in self.makes:
            ink = np.asarray(self.source[written]["image"])
            where = self.speakers.index(seen.speaker)
            drawn = place(ink, where, len(self.speakers), self.config.side, random)
            sample["image"] = noised(drawn, self.config.image_noise, 255, self._random(index, 2))
        if "audio" in self.makes or "mouth" in self.makes:
            sound = fitted(self.speech(heard), self.config.seconds)
            sample["audio"] = (noised(sound, self.config.audio_noise, 1, self._random(index, 3)), RATE)
        if "mouth" in self.makes:
            opened = aperture(sound, round(self.config.seconds * self.config.frame_rate))
            apart = spread(sound, len(opened))
            sample["mouth"] = (mouth(opened, apart, self.config.lips, self._random(index, 1)), self.config.frame_rate)
            sample["aperture"] = opened.tolist()
        return sample

    def _random(self, place: int | str, *more: int) -> np.random.Generator:
        number = zlib.crc32(place.encode()) if isinstance(place, str) else place
        return np.random.default_rng([self.config.seed, zlib.crc32(self.split.encode()), number, *more])


def check_film(seconds: float, frame_rate: float) -> None:
    """Checks the options `seconds` and `frame_rate` of a world.

    Raises:
        ValueError: The film has no frame, or more than the sound has samples.
    """
    if not (seconds > 0 and 0 < frame_rate <= RATE and round(seconds * frame_rate) >= 1):
        raise ValueError(f"seconds and frame_rate make one frame at least; frame_rate is at most {RATE}.")


def noised(values: NDArray[Any], deviation: float, most: float, random: np.random.Generator) -> NDArray[Any]:
    """Returns values, of which none is larger than `most`, with white noise of a deviation."""
    if not deviation:
        return values
    noisy = values + random.normal(0, deviation, values.shape)
    clipped: NDArray[Any] = noisy.clip(-most if values.min() < 0 else 0, most).astype(values.dtype)
    return clipped


def fitted(sound: NDArray[np.float32], seconds: float) -> NDArray[np.float32]:
    """Returns a sound as long as asked for: its beginning, or with silence at its end."""
    length = round(seconds * RATE)
    return np.pad(sound[:length], (0, max(0, length - len(sound))))


def _few(takes: list[Take], count: int) -> list[Take]:
    """Returns so many takes of each digit, in the order of the digits."""
    return [take for digit in DIGITS for take in [take for take in takes if take.digit == digit][:count]]
