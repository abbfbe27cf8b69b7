"""ESC-50 and ESC-10: environmental sounds of five seconds."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import ClassVar

from sensorium import Dataset, UserError, expanded
from sensorium.builtin.datasets.digits import caption, check_templates
from sensorium.builtin.datasets.files import Columns, csv_rows, decode, require, require_media
from sensorium.builtin.values import clean

DIGITS = 9
"""Of the number of a fold at most."""


class ESC50(Dataset):
    """Environmental sounds in ESC-50's layout; a caption is written from the class, which is the group.

    Source: K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM Multimedia 2015.
    """

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "text": "text", "label": "label"}
    config: Config

    class Config(Dataset.Config):
        """Options of ESC-50."""

        root: str
        """Folder that holds meta/esc50.csv and audio/."""

        captions: list[str] = field(
            default_factory=lambda: [
                "the sound of {}",
                "a recording of {}",
                "this is a sound of {}",
                "you can hear {}",
            ]
        )
        """Templates of the captions, with {} for the class; a hash of the file's name chooses."""

        train_folds: list[int] = field(default_factory=lambda: [1, 2, 3])
        """Folds for training, of 1 to 5. Clips of one recording are always in one fold."""

        validation_folds: list[int] = field(default_factory=lambda: [4])
        """Folds for validation; none leaves the split out."""

        test_folds: list[int] = field(default_factory=lambda: [5])
        """Folds for the test; none leaves the split out."""

        def __post_init__(self) -> None:
            check_templates(self.captions)
            folds = [*self.train_folds, *self.validation_folds, *self.test_folds]
            if not folds or len(set(folds)) < len(folds):
                raise ValueError(
                    "train_folds, validation_folds and test_folds must not share a fold, nor all be empty."
                )

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.folds = {
            "train": config.train_folds,
            "validation": config.validation_folds,
            "test": config.test_folds,
        }
        self.splits = tuple(split for split, folds in self.folds.items() if folds)

    def open(self, split: str) -> Columns:
        """Returns the clips of one split's folds, in the order of meta/esc50.csv."""
        root = Path(expanded(self.config.root))
        path = require(root / "meta" / "esc50.csv", "table of clips", "Set `root` to the folder that holds meta/.")
        columns: dict[str, list[str]] = {"id": [], "group": [], "audio": [], "text": [], "label": []}
        found = set()
        for line, row in csv_rows(decode(path.read_bytes(), path), path, ("filename", "fold", "category")):
            if not (row["fold"].isdecimal() and len(row["fold"]) <= DIGITS):
                raise UserError(
                    f"{path}:{line} has the fold {row['fold']!r:.60}.", "A fold is a whole number.", "Correct the cell."
                )
            fold, key, category = int(row["fold"]), Path(row["filename"]).stem, clean(row["category"])
            found.add(fold)
            if fold in self.folds[split]:
                columns["id"].append(key)
                columns["group"].append(category)
                columns["audio"].append(str(root / "audio" / row["filename"]))
                columns["text"].append(caption(self.config.captions, category.replace("_", " "), key))
                columns["label"].append(category)
        absent = set(self.folds[split]) - found
        if absent:
            raise UserError(
                f"{path} has no clip of fold {', '.join(map(str, sorted(absent)))}.",
                f"Its folds are {', '.join(map(str, sorted(found)))}.",
                f"Correct `{split}_folds`.",
            )
        if self.config.broken == "refuse":
            require_media(columns["audio"], path)
        return Columns(columns, path)
