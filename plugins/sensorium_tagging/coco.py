"""Photographs with the categories of what is in them, in the layout of COCO's instances."""

from __future__ import annotations

from dataclasses import field
from typing import Any, ClassVar

from sensorium import UserError, expanded
from sensorium.builtin.datasets.coco import Coco
from sensorium.builtin.datasets.files import Columns, require_media
from sensorium.builtin.datasets.records import read
from sensorium.builtin.values import once, shown


class CocoCategories(Coco):
    """Photographs and the names of the categories that are in them; one sample for each photograph.

    Format: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014; cocodataset.org.
    """

    annotated = "instances"
    fields: ClassVar[dict[str, str]] = {"image": "image", "tags": "tags"}
    config: Config

    class Config(Coco.Config):
        """Where annotations and photographs lie."""

        annotations: dict[str, str] = field(
            default_factory=lambda: {
                "train": "annotations/instances_train2017.json",
                "validation": "annotations/instances_val2017.json",
            }
        )
        """Split -> file of instances, below `root`. A split exists when its file does."""

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its images.

        Raises:
            UserError: The file is not one of instances.
        """
        path = self.root / expanded(self.config.annotations[split])
        folder, content = self.root / expanded(self.config.images[split]), read(path)
        categories = list(content.records("categories"))
        once(((each.key("id"), each.place) for each in categories), "id of a category")
        names = {each.key("id"): each.text("name") for each in categories}
        images = list(content.records("images"))
        once(((image.key("id"), image.place) for image in images), "id of an image")
        there: dict[Any, set[str]] = {image.key("id"): set() for image in images}
        for record in content.records("annotations"):
            image, category = record.key("image_id"), record.key("category_id")
            for what, value, known in (("image_id", image, there), ("category_id", category, names)):
                if value not in known:
                    raise UserError(
                        f"{record.place}, {what}, is {shown(value)}.",
                        f"The id of one of `{'images' if known is there else 'categories'}` was expected.",
                        "Choose the file of instances (instances_*.json), or mend it.",
                    )
            there[image].add(names[category])
        columns: dict[str, list[Any]] = {
            "id": [str(image) for image in there],
            "image": [str(folder / image.text("file_name")) for image in images],
            "tags": [sorted(tags) for tags in there.values()],
        }
        if self.config.broken == "refuse":
            require_media(columns["image"], path)
        return Columns(columns, path)
