"""The world `moving_lips`: somebody says digits, and the lips move a little before they are heard.

Shapes: T samples, F frames.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from copy import copy

import numpy as np
from numpy.typing import NDArray

from sensorium import Sample, Source, Split
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds import face
from sensorium_worlds.av import check_film, fitted
from sensorium_worlds.formants import RATE
from sensorium_worlds.mixtures import level, trimmed
from sensorium_worlds.mouth import aperture, spread
from sensorium_worlds.speech import Take, chosen, speech

LEAD = 0.08
"""Seconds from when lips are told to move to when that is heard. They need time, so they are 60 ms ahead."""
OPENING, CLOSING, SPREADING, RESTING = 0.03, 0.08, 0.05, 0.4
"""Seconds in which the lips go most of the way to what they are told: apart, together, to a width, to rest."""
VOWEL = (500.0, 1200.0)
"""Hz between which the first formant of open vowels lies; that of closed ones is below, hissing is above."""
RULE = 100
"""Steps a second of the rule."""
PAUSE = 0.15
"""Longest silence between two digits, in seconds."""
BEFORE, AFTER = 0.5, 0.2
"""Seconds of what is said that are over before the clip begins, at most, and that follow its end, at least."""
FILMS = 4
"""Films that there are of each person."""
KEPT = 4000
"""Samples of a split that stay in memory."""


class MovingLips(Drawn):
    """Somebody says digits without end: the sound, the landmarks of the face, and a film of the same person.

    Lips follow the sound by a rule: they open faster than they close, take the width of a sound as far as it is loud,
    and begin before it is heard. `landmarks` are those of who speaks, x and y of 68 in turn for each frame, in
    pixels. In the film, `target`, the same person says something else, and `target_landmarks` are those of the film.
    Training samples have no film.
    """

    fields = {  # noqa: RUF012
        "audio": "audio",
        "landmarks": "series",
        "target": "video",
        "target_landmarks": "series",
        "speaker": "label",
    }

    class Config(Drawn.Config):
        """Where speech comes from, and how it is filmed."""

        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        train: int = 1500
        """Samples of the training split."""
        held_out: int = 100
        """Samples of each other split."""
        seconds: float = 2.0
        """Length of sounds and films."""
        side: int = 96
        """Side of the film, in pixels."""
        frame_rate: float = 25.0
        """Frames a second."""
        shuffle_pairs: bool = False
        """Whether training sounds come with the landmarks of another (control: nothing is there to learn)."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.side - 31) < 1:
                raise ValueError("train and held_out are at least 1, side at least 32.")
            check_film(self.seconds, self.frame_rate)

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Talking(split, self.config)


class Talking(DrawnSplit):
    """One split of the world."""

    config: MovingLips.Config

    def __init__(self, split: str, config: MovingLips.Config) -> None:
        super().__init__(split, config)
        self.speech = speech(config.recordings, config.seed)
        self.takes: dict[str, list[Take]] = {}
        for take in chosen(self.speech.takes, split):
            self.takes.setdefault(take.speaker, []).append(take)
        self.frames = round(config.seconds * config.frame_rate)
        self.after = math.ceil(AFTER * config.frame_rate)
        filmed = {"target", "target_landmarks"} if split == "train" else set()
        self.makes: frozenset[str] = frozenset(MovingLips.fields) - filmed
        self.sources = (Source("", range(len(self)), self.makes),)
        self.kept: dict[int, Sample] = {}
        self.films: dict[tuple[str, int], tuple[NDArray[np.uint8], NDArray[np.float32]]] = {}

    def narrow(self, fields: Collection[str]) -> Talking:
        """Returns the same samples, without what nobody reads."""
        part = copy(self)
        part.makes, part.kept = self.makes & frozenset(fields), {}
        return part

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns who speaks, what is heard, where the lips lie, and a film."""
        speaker = str(random.choice(sorted(self.takes)))
        sample: Sample = {"speaker": speaker}
        if index in self.kept:
            return {**sample, **self.kept[index]}
        found: Sample = {}
        if self.makes & {"audio", "landmarks"}:
            sound, takes = self.said(speaker, random)
            found |= {"audio": (fitted(sound, self.config.seconds), RATE), "takes": takes}
        if "landmarks" in self.makes:
            if self.config.shuffle_pairs and self.home == "train":
                sound = self.said(speaker, self.random(index, 1))[0]
            placed = face.motion(self.frames, self.config.side, self.random(index, 2))
            found["landmarks"] = in_pixels(face.landmarks(*self.lips(sound)), placed)
        if self.makes & {"target", "target_landmarks"}:
            pixels, places = self.film(speaker, int(self.random(index, 3).integers(FILMS)))
            found |= {"target": (pixels, self.config.frame_rate), "target_landmarks": places}
        if len(self.kept) < KEPT:
            self.kept[index] = found
        return {**sample, **found}

    def said(self, speaker: str, random: np.random.Generator) -> tuple[NDArray[np.float32], list[str]]:
        """Returns digits that somebody says one after the other, with short pauses, and which.

        It begins anywhere in them, and is longer than the clip, whose lips may move already to what follows: nothing
        is heard or done at the same time in every clip.
        """
        before = int(random.uniform(0, BEFORE) * RATE)
        seconds = (self.frames + self.after) / self.config.frame_rate
        pieces, takes, length = [], [], 0
        while length < before + seconds * RATE:
            take = self.takes[speaker][int(random.integers(len(self.takes[speaker])))]
            pause = np.zeros(int(random.uniform(0, PAUSE) * RATE), np.float32)
            pieces += [level(trimmed(self.speech(take))), pause]
            takes.append(f"{take.digit}/{take.speaker}/{take.number}")
            length += len(pieces[-2]) + len(pause)
        return fitted(np.concatenate(pieces)[before:], seconds), takes

    def lips(self, sound: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Returns how the lips move in the frames of the clip, which ends before the sound does; as `lips`."""
        opened, apart = lips(sound, self.frames + self.after)
        return opened[: self.frames], apart[: self.frames]

    def film(self, speaker: str, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Returns a film of somebody and its landmarks."""
        if (speaker, number) not in self.films:
            random = self.random(number, 4, sorted(self.takes).index(speaker))
            moved = self.lips(self.said(speaker, random)[0])
            placed = face.motion(self.frames, self.config.side, random)
            drawn = face.film(face.look(speaker), *moved, placed, self.config.side, random)
            self.films[speaker, number] = drawn, in_pixels(face.landmarks(*moved), placed)
        return self.films[speaker, number]


def lips(sound: NDArray[np.float32], frames: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Returns how far the mouth is open and the lips are spread in the middle of each frame, (F,) from 0 to 1.

    Both are drawn, in steps of 10 ms, towards what is heard 80 ms later: the opening towards the sound's level, the
    width towards its spectral centroid, the more the louder it is, and always a little towards rest.

    Args:
        sound: (T,), at 8,000 Hz, of one speaker alone.
        frames: F, which share the T samples evenly.
    """
    seconds = len(sound) / RATE
    steps = max(frames, round(seconds * RULE))
    lead = round(LEAD * steps / seconds)
    heard = [aperture(sound, steps), openness(sound, steps), spread(sound, steps)]
    told = [np.pad(each, (0, lead), constant_values=rest) for each, rest in zip(heard, (0.0, 0.0, 0.5), strict=True)]
    step, opened, apart, track = seconds / steps, 0.0, 0.5, []
    for loud, vowel, wide in zip(*told, strict=True):
        open_to = loud * vowel
        opened += (open_to - opened) * step / (OPENING if open_to > opened else CLOSING)
        apart += loud * (wide - apart) * step / SPREADING + (0.5 - apart) * step / RESTING
        track.append((opened, apart))
    middles = ((np.arange(frames) + 0.5) * steps / frames).astype(int) + lead
    found = np.array(track)[middles.clip(max=len(track) - 1)].clip(0, 1)
    return found[:, 0], found[:, 1]


def openness(sound: NDArray[np.float32], steps: int) -> NDArray[np.float64]:
    """Returns how open a vowel each step sounds like, (steps,) from 0 to 1: the share of power around its formant."""
    size = 2 * -(-len(sound) // steps)
    starts = np.linspace(0, len(sound), steps + 1).round().astype(int)[:-1]
    pieces = np.pad(sound, (size // 4, size))[starts[:, None] + np.arange(size)] * np.hanning(size)
    power, hertz = np.abs(np.fft.rfft(pieces)) ** 2, np.fft.rfftfreq(size, 1 / RATE)
    found: NDArray[np.float64] = power[:, (hertz >= VOWEL[0]) & (hertz < VOWEL[1])].sum(1) / (power.sum(1) + 1e-12)
    return found


def in_pixels(
    places: NDArray[np.complex128], placed: tuple[NDArray[np.complex128], NDArray[np.complex128]]
) -> NDArray[np.float32]:
    """Returns places (F, N) of a face as x and y in turn, (F, 2 N), in pixels of the frames."""
    origin, unit = (each[:, None] for each in placed)
    moved = places * unit + origin
    return np.stack([moved.real, moved.imag], 2).reshape(len(places), -1).astype(np.float32)
