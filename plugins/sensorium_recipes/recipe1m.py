"""Recipe1M: recipes with photographs, in the layers of its files.

A. Salvador et al., CVPR 2017; J. Marin et al., Recipe1M+, TPAMI 2019.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, unknown
from sensorium.builtin.datasets.files import Columns, decode, require, require_media
from sensorium.builtin.datasets.records import Record, read
from sensorium.builtin.values import once, parse

PARTITIONS = {"train": "train", "validation": "val", "test": "test"}
"""Split -> what the files call it."""


class Recipe1M(Dataset):
    """Recipes of `layer1.json` with their photographs of `layer2.json`; one sample for each photograph that is kept.

    Ingredients are the names that `det_ingrs.json` detected in them where that file is there, else their whole lines;
    empty lines are left out. A photograph `abcdef….jpg` lies in `images/{partition}/a/b/c/d/`.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "recipe": "recipe", "class": "label"}
    splits = tuple(PARTITIONS)

    class Config(Dataset.Config):
        """Where the files lie."""

        root: str
        """Folder that holds layer1.json, layer2.json and images/."""
        images: int = 1
        """Photographs that are kept of each recipe, the first ones."""
        classes: str | None = None
        """JSON file, below `root`, of recipe's id -> name of its class; recipes that it lacks are `background`."""

        def __post_init__(self) -> None:
            if self.images < 1:
                raise ValueError("images is at least 1.")

    config: Config

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of layer1.json.

        Raises:
            UserError: A file is missing, or a record has another form.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root to the folder of layer1.json.")
        photographs = {
            each.key("id"): [image.text("id") for image in each.records("images")]
            for each in _records(root / "layer2.json")
        }
        detected = {}
        if (root / "det_ingrs.json").is_file():
            detected = {each.key("id"): _detected(each) for each in _records(root / "det_ingrs.json")}
        classes: Mapping[str, str] = {}
        if self.config.classes is not None:
            path = require(root / self.config.classes, "file of classes", "Set dataset.classes.")
            listed = read(path)
            classes = {key: listed.text(key) for key in listed.content}
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", "image", "recipe", "class", "title")}
        for record in _records(root / "layer1.json"):
            name, partition = str(record.key("id")), record.text("partition")
            if partition not in PARTITIONS.values():
                raise unknown("partition", partition, PARTITIONS.values(), record.place)
            ingredients = detected.get(name) or _lines(record, "ingredients")
            instructions = _lines(record, "instructions")
            if partition != PARTITIONS[split] or not ingredients or not instructions:
                continue
            for image in photographs.get(name, [])[: self.config.images]:
                columns["id"].append(f"{name}#{image}")
                columns["group"].append(name)
                columns["image"].append(str(root / "images" / partition / "/".join(image[:4]) / image))
                columns["recipe"].append({"ingredients": ingredients, "instructions": instructions})
                columns["class"].append(classes.get(name, "background"))
                columns["title"].append(record.text("title"))
        if self.config.broken == "refuse":
            require_media(columns["image"], root / "layer2.json")
        return Columns(columns, root / "layer1.json")


def _records(path: Path) -> list[Record]:
    """Returns the records of a file that holds a list of them."""
    path = require(path, "file", "Set dataset.root to a copy of Recipe1M.")
    records = list(Record({"recipes": parse(decode(path.read_bytes(), path), path)}, path).records("recipes"))
    once(((each.key("id"), each.place) for each in records), "id of a recipe")
    return records


def _lines(record: Record, name: str) -> list[str]:
    """Returns the texts of a list, without empty ones."""
    return [text for each in record.records(name) if (text := each.text("text", empty=True))]


def _detected(record: Record) -> list[str]:
    """Returns the names of the ingredients that were detected, a word each: `olive_oil`."""
    valid = record.content.get("valid")
    names = [each.text("text", empty=True).replace(" ", "_") for each in record.records("ingredients")]
    if not isinstance(valid, list) or len(valid) != len(names):
        raise UserError(
            f"{record.place}, valid, is {json.dumps(valid)[:80]}.",
            f"A list of {len(names)} was expected, one for each ingredient.",
            "Fetch det_ingrs.json again.",
        )
    return [name for name, is_valid in zip(names, valid, strict=True) if is_valid and name]
