"""Photographs with ten captions each, in the layout that goes with the paper: birds and flowers.

    images/<class>/<name>.jpg      or images/<name>.jpg; CUB-200-2011 has `images`, Oxford-102 `jpg`
    text_c10/<class>/<name>.txt    a caption in each line
    trainvalclasses.txt            names of the classes to learn from, one in each line
    testclasses.txt                names of the classes that are shown by the test split alone

Captions and lists: S. Reed, Z. Akata, H. Lee, B. Schiele, Learning Deep Representations of Fine-grained
Visual Descriptions, CVPR 2016.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from sensorium import Dataset, Sample, UserError, expanded
from sensorium.builtin.datasets.files import lines
from sensorium.builtin.values import clean, once

LISTS = {"train": "trainvalclasses.txt", "test": "testclasses.txt"}

LONGEST = 255
"""Bytes of a folder's name at most."""


class DescribedPhotographs(Dataset):
    """CUB-200-2011 or Oxford-102; a training sample for each caption, a test sample for each photograph.

    The test split shows classes of its own.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "caption": "text", "class": "label"}
    splits = ("train", "test")

    class Config(Dataset.Config):
        """Where the files lie."""

        root: str
        """Folder of the captions and of the lists of classes."""
        images: str = "images"
        """Folder of the photographs, below the root or by itself."""
        captions: str = "text_c10"
        """Folder of the captions, below the root."""

    config: Config

    def open(self, split: str) -> Described:
        """Returns one split.

        Raises:
            UserError: A file is missing.
        """
        root = Path(expanded(self.config.root))
        listing, images = root / LISTS[split], root / expanded(self.config.images)
        for place in (listing, images, root / expanded(self.config.captions)):
            if not place.exists():
                raise UserError(f"{place} is not there.", "See the layout in the reader's module.", "Set dataset.root.")
        found: list[tuple[Path, Path, list[str], int]] = []
        classes, _ = _lines(listing)
        once(((clean(name), place) for name, place in classes), "class")
        torn, first = 0, ""
        for name, _ in classes:
            if Path(name).name != name or len(name.encode()) > LONGEST or "\0" in name:
                raise UserError(f"{listing} names the class {name[:60]!r}.", "The name of a folder was expected.")
            described = sorted((root / expanded(self.config.captions) / name).glob("*.txt"))
            if not described:
                raise UserError(
                    f"{listing} names the class {name!r}, of which there are no captions.",
                    f"Files <name>.txt were expected in {root / expanded(self.config.captions) / name}.",
                    "Fetch them, or take the class out of the list.",
                )
            for text in described:
                listed, unread = _lines(text)
                captions = [clean(caption) for caption, _ in listed]
                torn, first = torn + unread, first or str(text) * (unread > 0)
                photograph = _photograph(images, name, text.stem)
                chosen = range(len(captions)) if split == "train" else [len(found) % len(captions)]
                found += [(text, photograph, captions, number) for number in chosen]
        if torn:
            print(f"{first}: {torn} captions of the split {split!r} are not UTF-8 in part.", file=sys.stderr)
        return Described(found, split)


class Described:
    """One split: the file of a photograph's captions, the photograph, its captions, and the number of one of them."""

    def __init__(self, found: Sequence[tuple[Path, Path, list[str], int]], split: str) -> None:
        self.found, self.split = found, split

    def __len__(self) -> int:
        return len(self.found)

    def __getitem__(self, index: int) -> Sample:
        text, photograph, captions, number = self.found[index]
        return {
            "id": f"{self.split}/{text.parent.name}/{text.stem}/{number}",
            "group": clean(text.parent.name),
            "image": str(photograph),
            "caption": captions[number],
            "captions": captions,
            "class": clean(text.parent.name),
        }


def _lines(file: Path) -> tuple[list[tuple[str, str]], int]:
    """Returns the lines that hold something, each with its place, and how many of them are not UTF-8.

    A few of the published captions are not; a sign stands for each byte that cannot be read.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as cause:
        raise UserError(f"{file} cannot be read: {cause.strerror}.", "A text file was expected.") from cause
    found = [(line.removeprefix("\ufeff").strip(), f"{file}:{number}") for number, line in lines(text)]
    if not found:
        raise UserError(f"{file} is empty.", "A line at least was expected.", "Fetch it again.")
    return found, sum("\ufffd" in line for line, _ in found)


def _photograph(images: Path, name: str, stem: str) -> Path:
    for place in (images / name / f"{stem}.jpg", images / f"{stem}.jpg"):
        if place.is_file():
            return place
    raise UserError(
        f"{stem}.txt describes a photograph that is not there.",
        f"{images / name / f'{stem}.jpg'} or {images / f'{stem}.jpg'} was expected.",
        "Set dataset.images.",
    )
