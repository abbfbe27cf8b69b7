"""COCO in the split of A. Karpathy, in which captions of photographs are usually measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, expanded, unknown
from sensorium.builtin.datasets.files import Columns, require, require_media
from sensorium.builtin.datasets.records import read

SPLITS = {"train": ("train", "restval"), "validation": ("val",), "test": ("test",)}
"""Split -> those of the file that it is made of: the rest of COCO's validation set is learnt from too."""

KNOWN = tuple(name for names in SPLITS.values() for name in names)


class CocoKarpathy(Dataset):
    """Photographs in the layout of dataset_coco.json: for training a sample for each caption, else for each image.

    A sample's `captions` are all of its photograph. Source: A. Karpathy, L. Fei-Fei, Deep Visual-Semantic Alignments,
    CVPR 2015. The files for Flickr8k and Flickr30k have the same layout.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "text": "text"}
    splits = tuple(SPLITS)
    config: Config

    class Config(Dataset.Config):
        """Where the split and the photographs lie."""

        root: str
        """Folder that holds the file and the photographs."""

        file: str = "dataset_coco.json"
        """The split, below `root`."""

        images: str = "."
        """Folder, below `root`, in which each photograph lies at its `filepath` (val2014, if it has one) and
        `filename`."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        root = require(Path(config.root), "folder", "Set `root` to the folder that holds dataset_coco.json.")
        self.file = require(root / expanded(config.file), "split", "Set `file` to the split that is there.")
        self.folder = root / expanded(config.images)

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of the file."""
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", "image", "text", "captions")}
        for record in read(self.file).records("images"):
            own = record.text("split")
            if own not in KNOWN:
                raise unknown("split", own, KNOWN, record.place)
            if own not in SPLITS[split]:
                continue
            path = str(self.folder / record.text("filepath", "") / record.text("filename"))
            sentences = [(each.key("sentid"), each.text("raw")) for each in record.records("sentences")]
            for sentid, text in sentences if split == "train" else sentences[:1]:
                columns["id"].append(f"{record.key('imgid')}#{sentid}")
                columns["group"].append(str(record.key("imgid")))
                columns["image"].append(path)
                columns["text"].append(text)
                columns["captions"].append([raw for _, raw in sentences])
        if self.config.broken == "refuse":
            require_media(columns["image"], self.file)
        return Columns(columns, self.file)
