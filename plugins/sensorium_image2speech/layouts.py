"""Pictures with spoken captions, and somebody who reads aloud, as published.

Flickr8k Audio (D. Harwath, J. Glass, ASRU 2015): 40,000 spoken captions of Flickr8k's photographs, in `wavs`, with
`wav2capt.txt` and `wav2spk.txt`. SpokenCOCO (W.-N. Hsu et al. 2021): 600,000 of COCO's, in JSON files. LJSpeech 1.1
(K. Ito, L. Johnson 2017): 13,100 sentences that one person reads, in `wavs`, with `metadata.csv`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, expanded
from sensorium.builtin.datasets.files import Columns, lines, read_text, require, require_media
from sensorium.builtin.datasets.flickr import LISTS
from sensorium.builtin.datasets.records import read
from sensorium.builtin.values import filled, once


class Flickr8kAudio(Dataset):
    """Photographs with spoken captions; one sample for each caption, the photograph as group."""

    fields: ClassVar[dict[str, str]] = {"image": "image", "audio": "audio", "speaker": "label"}
    splits = tuple(LISTS)
    config: Config

    class Config(Dataset.Config):
        """Where speech and photographs lie."""

        root: str
        """Folder of wavs, wav2capt.txt and wav2spk.txt."""
        images: str
        """Folder of the photographs, Flicker8k_Dataset as the archive spells it."""
        lists: str
        """Folder of Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt and Flickr_8k.testImages.txt."""

    def open(self, split: str) -> Columns:
        """Returns the captions of a split's photographs, in the order of wav2capt.txt.

        Raises:
            UserError: A file is missing, or a line has another form.
        """
        listing = Path(self.config.lists) / LISTS[split]
        wanted = {line.strip() for _, line in lines(read_text(listing, "list of photographs", "Set dataset.lists."))}
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of wavs.")
        images, spoken = Path(expanded(self.config.images)), root / "wav2capt.txt"
        speakers = {wav: speaker for (wav, speaker), _ in _words(root / "wav2spk.txt", 2)}
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", "image", "audio", "speaker")}
        places = []
        for (wav, picture, number), place in _words(spoken, 3):
            if picture not in wanted:
                continue
            if wav not in speakers:
                raise UserError(f"{place}: {wav} has no speaker.", "A line of wav2spk.txt for each.", "Fetch it again.")
            for name, value in zip(
                columns,
                (f"{picture}{number}", picture, str(images / picture), str(root / "wavs" / wav), speakers[wav]),
                strict=True,
            ):
                columns[name].append(value)
            places.append(place)
        if self.config.broken == "refuse":
            require_media([*columns["image"], *columns["audio"]], spoken)
        return Columns(columns, spoken, places)


class SpokenCOCO(Dataset):
    """COCO's photographs with spoken captions; one sample for each caption, the photograph as group."""

    fields: ClassVar[dict[str, str]] = {"image": "image", "audio": "audio", "text": "text", "speaker": "label"}
    config: Config

    class Config(Dataset.Config):
        """Where speech and photographs lie."""

        root: str
        """Folder of SpokenCOCO's JSON files and wavs."""
        images: str
        """Folder of COCO's train2014 and val2014."""
        files: dict[str, str] = field(
            default_factory=lambda: {"train": "SpokenCOCO_train.json", "validation": "SpokenCOCO_val.json"}
        )
        """Split -> its file, below `root`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.splits = tuple(config.files)

    def open(self, split: str) -> Columns:
        """Returns the captions of a split, in the order of its file.

        Raises:
            UserError: A file is missing, or it has another layout.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of SpokenCOCO's JSON files.")
        path = require(root / expanded(self.config.files[split]), "file of captions", "Set dataset.files.")
        images = Path(expanded(self.config.images))
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", "image", "audio", "text", "speaker")}
        for picture in read(path).records("data"):
            name = picture.text("image")
            for spoken in picture.records("captions"):
                columns["id"].append(spoken.text("uttid"))
                columns["group"].append(name)
                columns["image"].append(str(images / name))
                columns["audio"].append(str(root / spoken.text("wav")))
                columns["text"].append(spoken.text("text"))
                columns["speaker"].append(spoken.text("speaker"))
        if self.config.broken == "refuse":
            require_media([*columns["image"], *columns["audio"]], path)
        return Columns(columns, path)


class LJSpeech(Dataset):
    """Sentences that one person reads; `text` is the one in which numbers are words.

    It has no splits of its own: `holdout` keeps some apart.
    """

    fields: ClassVar[dict[str, str]] = {"audio": "audio", "text": "text"}
    splits = ("train",)
    config: Config

    class Config(Dataset.Config):
        """Where it lies."""

        root: str
        """Folder of metadata.csv and wavs."""

    def open(self, split: str) -> Columns:
        """Returns all sentences.

        Raises:
            UserError: A file is missing, or a line has another form.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of metadata.csv and wavs.")
        path = root / "metadata.csv"
        columns: dict[str, list[Any]] = {"id": [], "audio": [], "text": []}
        places = []
        for number, line in lines(read_text(path, "list of sentences", "Set dataset.root to its folder.")):
            place = f"{path}:{number}"
            cells = line.split("|")  # a quote is part of a sentence here
            if len(cells) != 3:
                raise UserError(
                    f"{place} has {len(cells)} cells.", "`id|as written|in words` was expected.", "Mend it."
                )
            columns["id"].append(filled(cells[0], f"{place}, id,"))
            columns["audio"].append(str(root / "wavs" / f"{cells[0]}.wav"))
            columns["text"].append(filled(cells[2], f"{place}, text,"))
            places.append(place)
        if self.config.broken == "refuse":
            require_media(columns["audio"], path)
        return Columns(columns, path, places)


def _words(path: Path, count: int) -> Iterator[tuple[list[str], str]]:
    """Yields the words of each line of a file, the first of which occurs once, and its place.

    Raises:
        UserError: It is missing, or a line has another number of words.
    """
    found = []
    for number, line in lines(read_text(path, "file of Flickr8k Audio", "Set dataset.root to its folder.")):
        words = line.split()
        if len(words) != count:
            raise UserError(f"{path}:{number} has {len(words)} words.", f"{count} were expected.", "Fetch it again.")
        found.append((words, f"{path}:{number}"))
    once(((words[0], place) for words, place in found), "file")
    yield from found
