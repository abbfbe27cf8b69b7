"""Films of single speakers, any two of which are mixed: GRID, or films that a table names."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from sensorium import Dataset, MediaError, Sample, Split, UserError, expanded, unknown
from sensorium.builtin.datasets.grid import Clip, clips_of
from sensorium.builtin.modalities.video import Video

LEVEL = 0.05
"""Root mean square of each voice."""
RATE = 16000
"""Samples a second of the voices."""


class GridMixtures(Dataset):
    """Pairs of clips of two speakers: the sum of their sounds, both voices, and the film of each.

    Training and test hold the same pairs, for a few clips that are to be learnt by heart, unless
    `test` names what only the test's pairs are made of.
    """

    fields: ClassVar[dict[str, str]] = {
        "mixture": "audio",
        "voice_a": "audio",
        "voice_b": "audio",
        "face_a": "video",
        "face_b": "video",
    }
    splits = ("train", "test")

    class Config(Dataset.Config):
        """Where the clips are, and which are kept apart."""

        root: str
        """Folder with a folder for each speaker, as GRID has them, or with index.csv, whose columns `id` and `video`
        name a clip and its film; without a column `speaker` each clip has a speaker of its own."""
        test: tuple[str, ...] = ()
        """Speakers, or ids of clips, of the test; none takes those of the training. In GRID's folders the clip
        s1/bbaf2n.mpg has the id s1/bbaf2n."""

        def __post_init__(self) -> None:
            if len(self.test) == 1:
                raise ValueError("test names two speakers or clips at least, or none.")

    config: Config

    def open(self, split: str) -> Split:
        """Returns the pairs of a split.

        Raises:
            UserError: There are no films, one is missing, or all are of one speaker.
        """
        root = Path(expanded(self.config.root))
        clips = clips_of(root)
        for name in self.config.test:
            if not any(name in clip[:2] for clip in clips):
                raise unknown("speaker or clip", name, {clip.speaker for clip in clips}, str(root))
        if self.config.test:
            kept = set(self.config.test)
            clips = [clip for clip in clips if kept.isdisjoint(clip[:2]) == (split == "train")]
        if len({clip.speaker for clip in clips}) < 2:
            raise UserError(
                f"The split {split!r} of {root} has no two speakers.",
                "Clips of different speakers are mixed.",
                "Check dataset.test, and the column `speaker` if there is an index.csv.",
            )
        return Pairs(clips)


class Pairs:
    """Pairs of clips of two speakers, in both orders.

    At first each clip meets one of another speaker: the first clips of all one of the next speaker, the second ones one
    of the next but one. Then each meets one of the speaker after that, and so on round all, then another clip of each.
    So the first pairs are of all speakers, and with one clip of each they are a ring. A speaker's clips stand in no
    order: GRID's names spell the sentences. The speaker with the fewest clips sets how many each clip meets of one.
    """

    def __init__(self, clips: Sequence[Clip]) -> None:
        speakers: dict[str, list[Clip]] = {}
        for clip in clips:
            speakers.setdefault(clip.speaker, []).append(clip)
        self.speakers = [sorted(own, key=lambda clip: zlib.crc32(clip.id.encode())) for own in speakers.values()]
        counts = [len(own) for own in self.speakers]
        self.fewest = min(counts)
        self.places = [(who, n) for n in range(max(counts)) for who, count in enumerate(counts) if n < count]

    def __len__(self) -> int:
        return len(self.places) * (len(self.speakers) - 1) * self.fewest

    def __getitem__(self, index: int) -> Sample:
        pair = self.pair(index)
        voices = [_voice(clip.film) for clip in pair]
        # Both from their beginning and equally long, sound and film alike: whatever they are cut to stays in step.
        length = min(len(voice) for voice in voices)
        first, second = (voice[:length] for voice in voices)
        sample: Sample = {"id": f"{pair[0].id}+{pair[1].id}", "mixture": (first + second, RATE)}
        for letter, clip, voice in zip("ab", pair, (first, second), strict=True):
            sample |= {f"voice_{letter}": (voice, RATE), f"face_{letter}": (str(clip.film), length / RATE)}
        return sample

    def pair(self, index: int) -> tuple[Clip, Clip]:
        """Returns the clips of a pair, without a list of all: a whole copy of GRID has a thousand million."""
        step, place = divmod(range(len(self))[index], len(self.places))
        who, number = self.places[place]
        later, turn = divmod(step, len(self.speakers) - 1)
        ahead = 1 + (turn + number) % (len(self.speakers) - 1)
        others = self.speakers[(who + ahead) % len(self.speakers)]
        return self.speakers[who][number], others[(number + later) % len(others)]


def _voice(film: Path) -> NDArray[np.float32]:
    """Returns the sound of a film, from the beginning of its first frame to the end of the last."""
    sound = Video(Video.Config(channels=1, sample_rate=RATE)).decode(str(film)).sound[0].numpy()
    if not sound.any():
        raise MediaError(f"{film} has no sound.", "The film of a speaker was expected.", "Leave it out.")
    voice: NDArray[np.float32] = sound * (LEVEL / np.sqrt(np.mean(sound**2)))
    return voice
