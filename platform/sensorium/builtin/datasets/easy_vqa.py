"""easy-VQA: questions about one coloured shape in a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError
from sensorium.builtin.datasets.files import Columns, decode, require, require_media
from sensorium.builtin.values import filled, parse, shown

SHAPES = ("circle", "rectangle", "triangle")


class EasyVQA(Dataset):
    """Questions with one-word answers in easy-VQA's layout; one sample for each question, the picture as group.

    `type` is yes/no, shape or colour, by the answer. Source: V. Zhou, easy-VQA, 2019, github.com/vzhou842/easy-VQA.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "question": "text", "answer": "label"}
    config: Config

    class Config(Dataset.Config):
        """Where easy-VQA lies."""

        root: str
        """Folder that holds train/ and test/, each with questions.json and images/."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = require(Path(config.root), "folder", "Set `root` to the folder that holds train/ and test/.")
        self.splits = tuple(each for each in ("train", "test") if (self.root / each / "questions.json").is_file())
        if not self.splits:
            require(self.root / "train/questions.json", "file of questions", "Set `root` to the folder `data`.")

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its questions."""
        path = self.root / split / "questions.json"
        columns: dict[str, list[Any]] = {
            name: [] for name in ("id", "group", "image", "question", "answer", "answers", "type")
        }
        for number, record in enumerate(_records(path)):
            question, answer, image = record
            columns["id"].append(f"{split}/{number}")
            columns["group"].append(f"{split}/{image}")
            columns["image"].append(str(self.root / split / "images" / f"{image}.png"))
            columns["question"].append(question)
            columns["answer"].append(answer)
            columns["answers"].append([answer])
            columns["type"].append(_kind(answer))
        if self.config.broken == "refuse":
            require_media(columns["image"], path)
        return Columns(columns, path)


def _kind(answer: str) -> str:
    if answer in ("yes", "no"):
        return "yes/no"
    return "shape" if answer in SHAPES else "colour"


def _records(path: Path) -> list[tuple[str, str, int]]:
    records = parse(decode(path.read_bytes(), path), path, "one JSON list")
    for number, record in enumerate(records if isinstance(records, list) else [records]):
        if not (isinstance(record, list) and [type(each) for each in record] == [str, str, int]):
            raise UserError(
                f"{path} has a record that does not fit, number {number}: {shown(record)}.",
                "Each is [question, answer, number of the picture].",
                "Choose the file questions.json of easy-VQA.",
            )
    return [
        (*(filled(part, f"{path}, record {number}, {part!r}") for part in record[:2]), record[2])
        for number, record in enumerate(records)
    ]
