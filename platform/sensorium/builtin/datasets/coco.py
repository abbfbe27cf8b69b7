"""COCO captions: photographs with five sentences each."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, expanded
from sensorium.builtin.datasets.files import Columns, require, require_media
from sensorium.builtin.datasets.records import read
from sensorium.builtin.values import once, shown


class Coco(Dataset):
    """What datasets in COCO's layout share: a file of annotations and a folder of photographs for each split."""

    annotated: ClassVar[str]
    """What a file of annotations holds: `captions`, `instances`."""
    config: Config

    class Config(Dataset.Config):
        """Where annotations and photographs lie."""

        root: str
        """Folder that holds the annotations and the images."""
        annotations: dict[str, str]
        """Split -> file of annotations, below `root`. A split exists when its file does."""
        images: dict[str, str] = field(default_factory=lambda: {"train": "train2017", "validation": "val2017"})
        """Split -> folder of images, below `root`."""

        def __post_init__(self) -> None:
            if self.annotations.keys() != self.images.keys():
                raise ValueError("annotations and images must name the same splits.")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = require(Path(config.root), "folder", "Set `root` to the folder that holds annotations/.")
        files = config.annotations.items()
        self.splits = tuple(split for split, name in files if (self.root / expanded(name)).is_file())
        if not self.splits:
            name = next(iter(config.annotations.values()), "annotations")
            require(
                self.root / expanded(name),
                f"file of {self.annotated}",
                "Set `annotations` to the files that are there.",
            )


class CocoCaptions(Coco):
    """Photographs with captions in COCO's layout; one sample for each caption, the image as group.

    A sample's `captions` are all of its image that are kept.

    Format: X. Chen et al., Microsoft COCO Captions, 2015, arXiv:1504.00325; cocodataset.org.
    """

    annotated = "captions"
    fields: ClassVar[dict[str, str]] = {"image": "image", "text": "text"}
    config: Config

    class Config(Coco.Config):
        """Options of COCO captions."""

        annotations: dict[str, str] = field(
            default_factory=lambda: {
                "train": "annotations/captions_train2017.json",
                "validation": "annotations/captions_val2017.json",
            }
        )
        """Split -> file of captions, below `root`. A split exists when its file does."""
        captions: int | None = None
        """Captions that are kept of each image, the first in the file; None keeps all."""

        def __post_init__(self) -> None:
            if self.captions is not None and self.captions < 1:
                raise ValueError("captions is at least 1.")
            super().__post_init__()

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its captions."""
        path = self.root / expanded(self.config.annotations[split])
        folder = self.root / expanded(self.config.images[split])
        content = read(path)
        images = list(content.records("images"))
        columns: dict[str, list[Any]] = {"id": [], "group": [], "image": [], "text": []}
        once(((image.key("id"), image.place) for image in images), "id of an image")
        files = {image.key("id"): str(folder / image.text("file_name")) for image in images}
        kept: Counter[str | int] = Counter()
        for record in content.records("annotations"):
            image = record.key("image_id")
            if image not in files:
                raise UserError(
                    f"{record.place}, image_id, is {shown(image)}.",
                    "The id of one of `images` was expected.",
                    "Choose the file of captions (captions_*.json), or mend it.",
                )
            text = record.text("caption")
            kept[image] += 1
            if self.config.captions is not None and kept[image] > self.config.captions:
                continue
            columns["id"].append(f"{image}#{record.key('id')}")
            columns["group"].append(str(image))
            columns["image"].append(files[image])
            columns["text"].append(text)
        of_image: dict[str, list[str]] = {}
        for image, text in zip(columns["group"], columns["text"], strict=True):
            of_image.setdefault(image, []).append(text)
        columns["captions"] = [of_image[image] for image in columns["group"]]
        if self.config.broken == "refuse":
            require_media(columns["image"], path)
        return Columns(columns, path)
