"""The world `digits_av_mixtures`: two people speak at once, and the mouth of each is seen.

Every record is a function of seed, split and index alone, so that workers make their own.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Sample, Split, UserError
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit
from sensorium_worlds.av import check_film, fitted
from sensorium_worlds.formants import RATE
from sensorium_worlds.mouth import aperture, mouth, spread
from sensorium_worlds.speech import Take, chosen, speech

LEVEL = 0.05
"""Root mean square of each digit, and of all that the first speaker says."""
HOP = 80
"""Samples of the stretches that silence is looked for in: 10 ms."""
SILENCE = 30.0
"""Decibels below the loudest stretch of a word at which silence begins."""


class DigitsAVMixtures(Drawn):
    """Two different speakers saying digits at once, with the clean sound and the mouth of each.

    Both begin at once and say one digit after the other without a pause, so that they overlap for most of the time.
    The clean sounds add up to the mixture. Nobody who speaks in the split `unknown` speaks in another one; the other
    splits share their speakers, but no take of a digit.
    """

    fields: ClassVar[dict[str, str]] = {
        "mixture": "audio",
        "voice_a": "audio",
        "voice_b": "audio",
        "face_a": "video",
        "face_b": "video",
        "speaker_a": "label",
        "speaker_b": "label",
    }
    splits = ("train", "validation", "test", "unknown")

    class Config(Drawn.Config):
        """Where speech comes from, and how it is mixed."""

        recordings: str | None = None
        """Folder of a copy of the Free Spoken Digit Dataset; None speaks with voices made by rule."""
        held_out: int = 200
        """Samples of each other split."""
        unknown: int = 2
        """Speakers, the last ones by name, whom the split `unknown` alone has."""
        digits: int = 6
        """Digits that each speaker says one after the other."""
        seconds: float = 1.6
        """Length of the sound; longer speech is cut."""
        ratio: float = 2.5
        """Largest difference of level between the speakers either way, in dB."""
        lips: int = 8
        """Side of the mouths' videos, in pixels."""
        frame_rate: float = 25.0
        """Frames a second of the mouths' videos."""

        def __post_init__(self) -> None:
            if min(self.train, self.held_out, self.digits, self.lips - 3) < 1 or min(self.ratio, self.unknown) < 0:
                raise ValueError(
                    "train, held_out and digits are at least 1, lips at least 4, ratio and unknown at least 0."
                )
            check_film(self.seconds, self.frame_rate)

    config: Config

    def draw(self, split: str) -> Split:
        """Returns one of the splits."""
        return Mixed(split, self.config)


class Mixed(DrawnSplit):
    """One split of the world."""

    config: DigitsAVMixtures.Config

    def __init__(self, split: str, config: DigitsAVMixtures.Config) -> None:
        super().__init__(split, config)
        self.speech = speech(config.recordings, config.seed)
        speakers = sorted({take.speaker for take in self.speech.takes})
        known = max(0, len(speakers) - config.unknown)
        apart, home = (speakers[known:], "test") if split == "unknown" else (speakers[:known], split)
        self.takes: dict[str, list[Take]] = {}
        for take in chosen(self.speech.takes, home):
            if take.speaker in apart:
                self.takes.setdefault(take.speaker, []).append(take)
        if len(self.takes) < 2:
            raise UserError(
                f"Two speakers are mixed, but the split {split!r} has {', '.join(self.takes) or 'none'}.",
                f"Of {len(speakers)} speakers {config.unknown} are kept for the split 'unknown'.",
                "Set dataset.unknown, so that two are left on either side, or leave the split out of evaluation.split.",
            )

    def sample(self, index: int, random: np.random.Generator) -> Sample:
        """Returns a mixture, and the voice and the mouth of each."""
        config = self.config
        names = [str(name) for name in random.choice(sorted(self.takes), 2, replace=False)]
        said = [[self.takes[n][i] for i in random.integers(len(self.takes[n]), size=config.digits)] for n in names]
        ratio = random.uniform(-config.ratio, config.ratio)
        voices = mixed([self._spoken(takes) for takes in said], ratio)
        frames = round(config.seconds * config.frame_rate)
        faces = [mouth(aperture(voice, frames), spread(voice, frames), config.lips, random) for voice in voices]
        sample: Sample = {"mixture": (voices[0] + voices[1], RATE)}
        for letter, name, takes, voice, face in zip("ab", names, said, voices, faces, strict=True):
            sample[f"voice_{letter}"] = (voice, RATE)
            sample[f"face_{letter}"] = (face, config.frame_rate)
            sample[f"speaker_{letter}"] = name
            sample[f"takes_{letter}"] = [f"{take.digit}/{take.speaker}/{take.number}" for take in takes]
        return {**sample, "ratio": ratio, "speech": self.speech.kind}

    def _spoken(self, takes: list[Take]) -> NDArray[np.float32]:
        return fitted(np.concatenate([level(trimmed(self.speech(take))) for take in takes]), self.config.seconds)


def trimmed(sound: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns a sound (T,) without the silence around it: 10 ms at a time, what lies 30 dB below the loudest 10 ms."""
    count = len(sound) // HOP
    energy = np.square(sound[: count * HOP], dtype=np.float64).reshape(count, HOP).sum(1) if count else np.zeros(0)
    loud = np.flatnonzero(energy > energy.max(initial=0) * 10 ** (-SILENCE / 10))
    return sound[loud[0] * HOP : (loud[-1] + 1) * HOP] if len(loud) else sound


def level(sound: NDArray[np.float32], wanted: float = LEVEL) -> NDArray[np.float32]:
    """Returns a sound (T,) at a root mean square; silence stays silent."""
    return (sound * (wanted / max(float(np.sqrt(np.mean(np.square(sound, dtype=np.float64)))), 1e-9))).astype(
        np.float32
    )


def mixed(voices: list[NDArray[np.float32]], ratio: float) -> list[NDArray[np.float32]]:
    """Returns two sounds (T,) at levels that differ by `ratio` dB, as they are in their mixture."""
    return [level(voices[0]), level(voices[1], LEVEL * 10 ** (-ratio / 20))]
