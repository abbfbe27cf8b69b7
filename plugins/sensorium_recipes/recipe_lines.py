"""Recipes as JSON lines, with photographs beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError
from sensorium.builtin.datasets.files import Columns, lines, read_text, require, require_media
from sensorium.builtin.datasets.records import Record
from sensorium.builtin.values import parse

LISTS = ("ingredients", "instructions")


class RecipeLines(Dataset):
    """Recipes with a photograph, a JSON object in a line: `id`, `title`, `ingredients`, `instructions`, `images`.

    Those without a photograph, an ingredient or an instruction are left out. With `folds` each is held out once, else
    all are in both splits, to be learnt by heart.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "recipe": "recipe"}

    class Config(Dataset.Config):
        """Where the recipes lie, and which are held out."""

        root: str
        """Folder that the names of photographs are below."""
        file: str = "recipes.jsonl"
        """The file, below `root`."""
        folds: int = 0
        """Parts of which one is the test split; 0 takes all recipes into both splits."""
        fold: int = 0
        """Number of the part that is held out, from 0."""

        def __post_init__(self) -> None:
            if self.folds == 1 or self.folds < 0 or not 0 <= self.fold < max(self.folds, 1):
                raise ValueError("folds is 0, or at least 2; fold lies below it.")

    config: Config

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of the file.

        Raises:
            UserError: A line has another form.
        """
        root = require(Path(self.config.root), "folder", "Set dataset.root.")
        path = root / self.config.file
        found: list[tuple[str, dict[str, Any]]] = []
        for number, line in lines(read_text(path, "file of recipes", "Set dataset.file.")):
            place = Path(f"{path}:{number}")
            record = Record(parse(line, place), place)
            texts = {name: _texts(record, name) for name in (*LISTS, "images")}
            if all(texts.values()):
                image = str(root / texts.pop("images")[0])
                found.append((str(place), {"id": str(record.key("id")), "image": image, "recipe": texts}))
        folds, held = self.config.folds, split == "test"
        chosen = [
            each for number, each in enumerate(found) if not folds or (number % folds == self.config.fold) == held
        ]
        columns = {name: [sample[name] for _, sample in chosen] for name in ("id", "image", "recipe")}
        if self.config.broken == "refuse":
            require_media(columns["image"], path)
        return Columns(columns, path, [place for place, _ in chosen])


def _texts(record: Record, name: str) -> list[str]:
    """Returns a list of texts, of which empty ones are left out."""
    value = record.content.get(name)
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise UserError(f"{record.place} has no list of texts {name!r}.", "A list was expected.", "Mend the line.")
    return [each for each in value if each.strip()]
