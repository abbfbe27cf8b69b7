"""Clotho and AudioCaps: sounds with sentences about them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, expanded
from sensorium.builtin.datasets.files import Columns, csv_rows, read_text, require, require_media
from sensorium.builtin.values import clean, once

CLOTHO = {"train": "development", "validation": "validation", "test": "evaluation"}
"""Split -> what Clotho calls it."""
CAPTIONS = [f"caption_{number}" for number in range(1, 6)]
"""Columns of Clotho's sentences."""
AUDIOCAPS = {"train": "train", "validation": "val", "test": "test"}
"""Split -> what AudioCaps calls it."""
NAMES = ("audiocap_id", "youtube_id", "start_time")
"""Columns of AudioCaps that tell clips apart."""
PLACEHOLDER = re.compile(r"\{([^{}]*)\}")


class SoundCaptions(Dataset):
    """What both share: for training a sample for each sentence, else for each clip; `captions` are all of the clip."""

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "text": "text"}
    names: ClassVar[dict[str, str]]
    """Split -> what the publishers call it."""

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder that holds the tables and the sounds."""

    config: SoundCaptions.Config

    def __init__(self, config: SoundCaptions.Config) -> None:
        super().__init__(config)
        self.root = require(Path(config.root), "folder", "Set `root` to the folder that holds the tables.")
        self.splits = tuple(split for split, name in self.names.items() if (self.root / self.table(name)).is_file())
        if not self.splits:
            require(self.root / self.table(self.names["train"]), "table of captions", "Set `root` to its folder.")

    def table(self, name: str) -> str:
        """Returns the table of a split by the publishers' name, below `root`."""
        raise NotImplementedError

    def clips(self, path: Path, split: str) -> Iterable[tuple[int, str, str, str, str]]:
        """Yields line, id, clip, file below `root` and sentence, in the order of the table."""
        raise NotImplementedError

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its table.

        Raises:
            UserError: A file is missing, or the table has another layout.
        """
        path = self.root / self.table(self.names[split])
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", "audio", "text")}
        told: dict[str, list[str]] = {}
        places = []
        for line, key, clip, file, text in self.clips(path, split):
            told.setdefault(clip, []).append(text)
            if split == "train" or len(told[clip]) == 1:
                places.append(f"{path}:{line}")
                for name, value in zip(columns, (key, clip, str(self.root / file), text), strict=True):
                    columns[name].append(value)
        columns["captions"] = [told[clip] for clip in columns["group"]]
        if self.config.broken == "refuse":
            require_media(columns["audio"], path)
        return Columns(columns, path, places)


class Clotho(SoundCaptions):
    """Sounds of 15 to 30 s with five sentences each, in Clotho's layout.

    `clotho_captions_development.csv` with the columns file_name and caption_1 to caption_5, the sounds in the folder
    `development`; so too `validation` and `evaluation`, which is the test. Source: K. Drossos, S. Lipping, T. Virtanen,
    Clotho: An Audio Captioning Dataset, ICASSP 2020.
    """

    names = CLOTHO

    class Config(SoundCaptions.Config):
        """Options of Clotho."""

    def table(self, name: str) -> str:
        """Returns clotho_captions_*.csv."""
        return f"clotho_captions_{name}.csv"

    def clips(self, path: Path, split: str) -> Iterable[tuple[int, str, str, str, str]]:
        """Yields five sentences of each clip."""
        rows = list(csv_rows(read_text(path, "table of captions", "Fetch it."), path, ["file_name", *CAPTIONS]))
        once(((row["file_name"], f"{path}:{line}") for line, row in rows), "clip")
        for line, row in rows:
            name = row["file_name"]
            for number, column in enumerate(CAPTIONS, 1):
                yield line, f"{name}#{number}", name, f"{self.names[split]}/{name}", clean(row[column])


class AudioCaps(SoundCaptions):
    """Ten seconds each of YouTube's videos, one sentence for training and five else, in AudioCaps' layout.

    `train.csv`, `val.csv` and `test.csv` with the columns audiocap_id, youtube_id, start_time and caption. Clips that
    are on YouTube no more are left out by `broken: skip`. Source: C. D. Kim, B. Kim, H. Lee, G. Kim, AudioCaps:
    Generating Captions for Audios in The Wild, NAACL 2019.
    """

    names = AUDIOCAPS

    class Config(SoundCaptions.Config):
        """Options of AudioCaps."""

        audio: str = "{split}/{youtube_id}_{start_time}.wav"
        """File of a clip, below `root`, as it was downloaded: AudioCaps publishes none. {split} stands for train, val
        or test, {audiocap_id}, {youtube_id} and {start_time} for those of the table."""

        def __post_init__(self) -> None:
            wrong = set(PLACEHOLDER.findall(self.audio)) - {"split", *NAMES}
            if wrong or not PLACEHOLDER.search(self.audio):
                raise ValueError(
                    f"audio names {{split}}, {', '.join(f'{{{name}}}' for name in NAMES)} and nothing else."
                )

    config: AudioCaps.Config

    def table(self, name: str) -> str:
        """Returns train.csv, val.csv or test.csv."""
        return f"{name}.csv"

    def clips(self, path: Path, split: str) -> Iterable[tuple[int, str, str, str, str]]:
        """Yields each sentence with its clip."""
        pattern = expanded(self.config.audio)
        text = read_text(path, "table of captions", "Fetch it.")
        for line, row in csv_rows(text, path, [*NAMES, "caption"]):
            told = {"split": self.names[split], **{name: clean(row[name]) for name in NAMES}}
            parts = PLACEHOLDER.split(pattern)
            parts[1::2] = [told[name] for name in parts[1::2]]
            clip = f"{told['youtube_id']}_{told['start_time']}"
            yield line, told["audiocap_id"], clip, "".join(parts), clean(row["caption"])
