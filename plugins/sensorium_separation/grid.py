"""Clips of talking faces in the layout of the GRID samples: any two are mixed.

M. Cooke, J. Barker, S. Cunningham, X. Shao, An audio-visual corpus for speech perception and automatic
speech recognition, JASA 120(5), 2006.
"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import ClassVar

import numpy as np
import soundfile
from numpy.typing import NDArray

from sensorium import Dataset, Sample, Split, UserError, unknown

LEVEL = 0.05
"""Root mean square of each voice."""
NEEDED = ("id", "video", "audio")


class GridMixtures(Dataset):
    """Pairs of clips: the sum of their sounds, both voices, and the video file of each.

    Training and test hold the same pairs, for a few clips that are to be learnt by heart, unless
    `test` names clips that only the test's pairs are made of.
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
        """Folder with index.csv, whose columns `id`, `video` and `audio` name a clip and its files."""
        test: tuple[str, ...] = ()
        """Ids of the clips of the test; none takes those of the training."""

        def __post_init__(self) -> None:
            if len(self.test) == 1:
                raise ValueError("test names two clips at least, or none.")

    config: Config

    def open(self, split: str) -> Split:
        """Returns the pairs of a split, in the order of index.csv.

        Raises:
            UserError: The table or a file is missing.
        """
        if split not in self.splits:
            raise unknown("split", split, self.splits)
        root = Path(self.config.root).expanduser()
        table = root / "index.csv"
        if not table.is_file():
            raise UserError(
                f"There is no table of clips at {table}.",
                "It is a CSV file with the columns id, video and audio.",
                "Set `root` to the folder that holds index.csv.",
            )
        with table.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        lacking = [name for name in NEEDED if not rows or name not in rows[0]]
        if lacking:
            raise UserError(f"{table} has no column {', '.join(lacking)}.", f"Its columns are {', '.join(NEEDED)}.")
        for name in self.config.test:
            if name not in {row["id"] for row in rows}:
                raise unknown("clip", name, [row["id"] for row in rows], str(table))
        if self.config.test:
            rows = [row for row in rows if (row["id"] in self.config.test) == (split == "test")]
        missing = [root / row[name] for row in rows for name in NEEDED[1:] if not (root / row[name]).is_file()]
        if missing:
            raise UserError(f"{missing[0]} is missing, of {len(missing)} files.", f"{table} names it.")
        return Pairs([(row["id"], root / row["video"], root / row["audio"]) for row in rows])


class Pairs:
    """All pairs of some clips, in both orders; the first ones are a ring, in which each clip is once either one."""

    def __init__(self, clips: list[tuple[str, Path, Path]]) -> None:
        count = len(clips)
        self.pairs = [(clips[i], clips[(i + step) % count]) for step in range(1, count) for i in range(count)]

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> Sample:
        pair = self.pairs[index]
        voices, rates = zip(*(_voice(sound) for _, _, sound in pair), strict=True)
        length = min(len(voice) for voice in voices)
        if rates[0] != rates[1]:
            raise UserError(f"{pair[0][2]} and {pair[1][2]} have {rates[0]} and {rates[1]} samples a second.")
        first, second = (voice[:length] for voice in voices)
        sample: Sample = {"id": f"{pair[0][0]}+{pair[1][0]}", "mixture": (first + second, rates[0])}
        for letter, (_, film, _), voice in zip("ab", pair, (first, second), strict=True):
            sample |= {f"voice_{letter}": (voice, rates[0]), f"face_{letter}": str(film)}
        return sample


def _voice(path: Path) -> tuple[NDArray[np.float32], int]:
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = samples.mean(1)
    return (mono * (LEVEL / max(float(np.sqrt(np.mean(mono**2))), 1e-9))).astype(np.float32), int(rate)
