"""Flickr8k and Flickr30k: photographs with five sentences each."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, expanded
from sensorium.builtin.datasets.files import Columns, decode, lines, listing, require, require_media
from sensorium.builtin.values import clean, once

LISTS = {
    "train": "Flickr_8k.trainImages.txt",
    "validation": "Flickr_8k.devImages.txt",
    "test": "Flickr_8k.testImages.txt",
}
"""Split -> its list of images, as Flickr8k names them."""


class Flickr(Dataset):
    """Photographs with captions in Flickr's layouts; one sample for each caption, the image as group.

    A sample's `captions` are all of its image.

    The file holds lines `image.jpg#0<TAB>caption` (Flickr8k.token.txt, results_20130124.token) or is
    CSV with the header `image,caption`. Source: M. Hodosh et al., Framing Image Description as a
    Ranking Task, JAIR 47, 2013; P. Young et al., From Image Descriptions to Visual Denotations, TACL 2014.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "text": "text"}
    config: Config

    class Config(Dataset.Config):
        """Options of Flickr8k and Flickr30k."""

        root: str
        """Folder that holds the captions and the images."""

        captions: str = "Flickr8k.token.txt"
        """File of captions, below `root`."""

        images: str = "Flicker8k_Dataset"
        """Folder of images, below `root`. The archive spells it so."""

        lists: dict[str, str] = field(default_factory=dict)
        """Split -> file below `root` that lists its images, one a line, with or without .jpg.
        Left empty: Flickr8k's own lists where they are, else everything is `train`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = require(Path(config.root), "folder", "Set `root` to the folder that holds the captions.")
        found = {split: name for split, name in LISTS.items() if (self.root / name).is_file()}
        self.lists = config.lists or found
        self.splits = tuple(self.lists) or ("train",)

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of the captions."""
        path = require(self.root / expanded(self.config.captions), "file of captions", "Set `captions` to it.")
        wanted = self._images(split) if self.lists else None
        folder = self.root / expanded(self.config.images)
        columns: dict[str, list[Any]] = {"id": [], "group": [], "image": [], "text": []}
        of_image: dict[str, list[str]] = {}
        for key, name, text in _captions(path):
            if wanted is not None and name not in wanted:
                continue
            of_image.setdefault(name, []).append(text)
            columns["id"].append(key)
            columns["group"].append(name)
            columns["image"].append(str(folder / name))
            columns["text"].append(text)
        if wanted is not None and wanted - of_image.keys():
            raise UserError(
                f"{path} has no caption for {len(wanted - of_image.keys())} images that {self.lists[split]} lists: "
                f"{listing(wanted - of_image.keys(), 3)}.",
                "Every image of a split has one.",
                "Choose the list and the captions of the same data set.",
            )
        columns["captions"] = [of_image[name] for name in columns["group"]]
        if self.config.broken == "refuse":
            require_media(columns["image"], path)
        return Columns(columns, path)

    def _images(self, split: str) -> set[str]:
        path = require(self.root / expanded(self.lists[split]), f"list of the split {split!r}", "Correct `lists`.")
        listed = [
            (line.strip().removesuffix(".jpg") + ".jpg", f"{path}:{number}")
            for number, line in lines(decode(path.read_bytes(), path))
        ]
        once(listed, "image")
        return {name for name, _ in listed}


def _captions(path: Path) -> Iterator[tuple[str, str, str]]:
    """Yields id, name of the image and caption, from either form of file."""
    rows = lines(decode(path.read_bytes(), path))
    table = False
    counts: dict[str, int] = {}
    for number, line in rows:
        if number == 1 and line.replace(" ", "").lower() == "image,caption":
            table = True
            continue
        if table:
            # The published file leaves some commas unquoted, so the caption is all the rest.
            try:
                name, *cells = next(csv.reader([line]))
            except csv.Error as cause:
                raise UserError(
                    f"{path}:{number} is not CSV: {cause}.", "Expected `image.jpg,caption`.", "Mend the line."
                ) from cause
            text = ",".join(cells)
            key = f"{name}#{counts.setdefault(name, 0)}"
            counts[name] += 1
        else:
            key, _, text = line.partition("\t")
            name = key.rpartition("#")[0]
        if not name.strip() or not clean(text):
            expected = "`image.jpg,caption`" if table else "`image.jpg#0`, a tab, and the caption"
            raise UserError(
                f"{path}:{number} is not a caption: {line[:60]!r}.", f"Expected {expected}.", "Mend the line."
            )
        yield key, name, clean(text)
