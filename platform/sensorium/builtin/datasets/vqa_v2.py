"""VQA v2: questions about COCO's photographs, each with the answers of ten people."""

from __future__ import annotations

from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

from sensorium import Dataset, UserError, expanded
from sensorium.builtin.datasets.files import Columns, require, require_media
from sensorium.builtin.datasets.records import read
from sensorium.builtin.values import once, shown

SPLITS = {"train": "train2014", "validation": "val2014"}


class VQAv2(Dataset):
    """Questions in VQA v2's layout; one sample for each question, the photograph as group.

    `answer` is the one given most often, `answers` all ten, `type` yes/no, number or other. Format: Y. Goyal et al.,
    Making the V in VQA Matter, CVPR 2017; visualqa.org.
    """

    fields: ClassVar[dict[str, str]] = {"image": "image", "question": "text", "answer": "label"}
    config: Config

    class Config(Dataset.Config):
        """Where questions, annotations and photographs lie."""

        root: str
        """Folder that holds all of them."""

        questions: dict[str, str] = field(
            default_factory=lambda: {
                split: f"v2_OpenEnded_mscoco_{name}_questions.json" for split, name in SPLITS.items()
            }
        )
        """Split -> file of questions, below `root`. A split exists when its file does."""

        annotations: dict[str, str] = field(
            default_factory=lambda: {split: f"v2_mscoco_{name}_annotations.json" for split, name in SPLITS.items()}
        )
        """Split -> file of answers, below `root`."""

        images: dict[str, str] = field(
            default_factory=lambda: {split: f"{name}/COCO_{name}_{{:012d}}.jpg" for split, name in SPLITS.items()}
        )
        """Split -> photograph below `root`, with {} for the number of the image, as Python formats it."""

        def __post_init__(self) -> None:
            if not self.questions.keys() == self.annotations.keys() == self.images.keys():
                raise ValueError("questions, annotations and images must name the same splits.")
            for pattern in self.images.values():
                try:
                    pattern.format(1)
                except (ValueError, LookupError) as cause:
                    raise ValueError(
                        f"images: {pattern!r} has one {{}} for the number of the image, such as {{:012d}}."
                    ) from cause

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.root = require(Path(config.root), "folder", "Set `root` to the folder that holds the questions.")
        self.splits = tuple(split for split, name in config.questions.items() if (self.root / expanded(name)).is_file())
        if not self.splits:
            name = next(iter(config.questions.values()), "questions")
            require(self.root / expanded(name), "file of questions", "Set `questions` to the files that are there.")

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its questions."""
        asked = self.root / expanded(self.config.questions[split])
        hint = f"Splits that are there: {', '.join(self.splits)}."
        said = require(self.root / expanded(self.config.annotations[split]), "file of answers", hint)
        columns: dict[str, list[Any]] = {
            name: [] for name in ("id", "group", "image", "question", "answer", "answers", "type")
        }
        found = list(read(said).records("annotations"))
        once(((each.key("question_id"), each.place) for each in found), "question_id")
        answers = {each.key("question_id"): each for each in found}
        for record in read(asked).records("questions"):
            question = record.key("question_id")
            if question not in answers:
                raise UserError(
                    f"{record.place}, question_id, is {shown(question)}, which {said} has no answers to.",
                    "Every question has answers.",
                    "Choose the two files of one split.",
                )
            given, image = answers[question], record.whole("image_id")
            columns["id"].append(str(question))
            columns["group"].append(str(image))
            columns["image"].append(str(self.root / expanded(self.config.images[split].format(image))))
            columns["question"].append(record.text("question"))
            columns["answer"].append(given.text("multiple_choice_answer"))
            columns["answers"].append([each.text("answer") for each in given.records("answers")])
            columns["type"].append(given.text("answer_type"))
        if self.config.broken == "refuse":
            require_media(columns["image"], asked)
        return Columns(columns, asked)
