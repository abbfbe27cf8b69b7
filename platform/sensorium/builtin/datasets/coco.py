"""COCO captions: photographs with five sentences each."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, unknown
from sensorium.builtin.datasets.files import Columns, decode, require, require_media
from sensorium.builtin.values import filled, once, parse


class CocoCaptions(Dataset):
    """Photographs with captions in COCO's layout; one sample for each caption, the image as group.

    A sample's `captions` are all of its image that are kept.

    Format: X. Chen et al., Microsoft COCO Captions, 2015, arXiv:1504.00325; cocodataset.org.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "text": "text"}
    config: Config

    class Config(Dataset.Config):
        """Options of COCO captions."""

        root: str
        """Folder that holds the annotations and the images."""

        annotations: dict[str, str] = field(
            default_factory=lambda: {
                "train": "annotations/captions_train2017.json",
                "validation": "annotations/captions_val2017.json",
            }
        )
        """Split -> file of captions, below `root`. A split exists when its file does."""

        images: dict[str, str] = field(default_factory=lambda: {"train": "train2017", "validation": "val2017"})
        """Split -> folder of images, below `root`."""

        captions: int | None = None
        """Captions that are kept of each image, the first in the file; None keeps all."""

        def __post_init__(self) -> None:
            if self.captions is not None and self.captions < 1:
                raise ValueError("captions is at least 1.")
            if self.annotations.keys() != self.images.keys():
                raise ValueError("annotations and images must name the same splits.")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = require(Path(config.root), "folder", "Set `root` to the folder that holds annotations/.")
        files = config.annotations.items()
        self.splits = tuple(split for split, name in files if (self.root / name).is_file())
        if not self.splits:
            name = next(iter(config.annotations.values()), "annotations")
            require(self.root / name, "file of captions", "Set `annotations` to the files that are there.")

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its captions."""
        if split not in self.config.annotations:
            raise unknown("split", split, self.splits, "CocoCaptions")
        hint = f"Splits that are there: {', '.join(self.splits)}."
        path = require(self.root / self.config.annotations[split], "file of captions", hint)
        folder = self.root / self.config.images[split]
        images, annotations = _records(path)
        columns: dict[str, list[Any]] = {"id": [], "group": [], "image": [], "text": []}
        try:
            once(((image["id"], f"images[{n}]") for n, image in enumerate(images)), f"id of an image in {path}")
            files = {image["id"]: str(folder / image["file_name"]) for image in images}
            kept: Counter[Any] = Counter()
            for number, record in enumerate(annotations):
                kept[record["image_id"]] += 1
                if self.config.captions is not None and kept[record["image_id"]] > self.config.captions:
                    continue
                columns["id"].append(f"{record['image_id']}#{record['id']}")
                columns["group"].append(str(record["image_id"]))
                columns["image"].append(files[record["image_id"]])
                columns["text"].append(filled(record["caption"], f"{path}, annotations[{number}], caption,"))
        except (KeyError, TypeError, AttributeError) as cause:
            raise UserError(
                f"{path} has a record that does not fit, after {len(columns['text'])} captions: "
                f"{type(cause).__name__} {cause}.",
                "`images` have id and file_name; `annotations` have id, image_id of such an image, and caption.",
                "Choose the file of captions (captions_*.json), or mend it.",
            ) from cause
        of_image: dict[str, list[str]] = {}
        for image, text in zip(columns["group"], columns["text"], strict=True):
            of_image.setdefault(image, []).append(text)
        columns["captions"] = [of_image[image] for image in columns["group"]]
        if self.config.broken == "refuse":
            require_media(columns["image"], path)
        return Columns(columns, path)


def _records(path: Path) -> tuple[list[Any], list[Any]]:
    try:
        content = parse(decode(path.read_bytes(), path), path)
        return content["images"], content["annotations"]
    except (KeyError, TypeError) as cause:
        raise UserError(
            f"{path} has no lists `images` and `annotations`.",
            "Expected a file of captions in COCO's format.",
            "Choose the file of captions (captions_*.json).",
        ) from cause
