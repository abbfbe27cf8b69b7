"""The free spoken digit dataset."""

from __future__ import annotations

import re
from dataclasses import field
from pathlib import Path
from typing import ClassVar

from sensorium import Dataset, UserError
from sensorium.builtin.datasets.digits import DIGITS, caption, check_templates
from sensorium.builtin.datasets.files import Columns, require

NAME = re.compile(r"(\d)_(.+)_(\d+)\.wav")
"""{digit}_{speaker}_{index}.wav"""

TEST = range(5)
"""The indices of each digit and speaker that are the test split, as the data set says."""


class FSDD(Dataset):
    """Spoken digits; each has a written caption, the digit's word, its speaker, and its class as group.

    Source: Z. Jackson et al., free-spoken-digit-dataset, 2016; its README defines the split.
    """

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "text": "text", "label": "label", "speaker": "label"}
    config: Config

    class Config(Dataset.Config):
        """Options of the free spoken digit dataset."""

        root: str
        """Folder that holds recordings/."""

        captions: list[str] = field(
            default_factory=lambda: [
                "the spoken number {}",
                "someone says {}",
                "a voice saying the digit {}",
                "a recording of the word {}",
            ]
        )
        """Templates of the captions, with {} for the digit's word; a hash of the file's name chooses."""

        def __post_init__(self) -> None:
            check_templates(self.captions)

    def open(self, split: str) -> Columns:
        """Returns one split, ordered by digit, speaker and index."""
        folder = Path(self.config.root) / "recordings"
        folder = require(folder, "folder", "Set `root` to the folder that holds recordings/.")
        takes = sorted(_take(path) for path in folder.iterdir() if path.suffix == ".wav")
        chosen = [take for take in takes if (take[2] in TEST) == (split == "test")]
        words = [DIGITS[digit] for digit, *_ in chosen]
        ids = [path.stem for *_, path in chosen]
        columns = {
            "id": ids,
            "group": words,
            "audio": [str(path) for *_, path in chosen],
            "text": [caption(self.config.captions, word, key) for word, key in zip(words, ids, strict=True)],
            "label": words,
            "speaker": [speaker for _, speaker, *_ in chosen],
        }
        return Columns(columns, f"{folder}, split {split},")


def _take(path: Path) -> tuple[int, str, int, Path]:
    match = NAME.fullmatch(path.name)
    if match is None:
        raise UserError(
            f"{path} is not a recording of the data set.",
            "Recordings are named {digit}_{speaker}_{index}.wav.",
            "Rename it, or move it elsewhere.",
        )
    digit, speaker, index = match.groups()
    return int(digit), speaker, int(index), path
