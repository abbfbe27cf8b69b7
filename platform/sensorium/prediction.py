"""A trained model put to use: one answer, or the figures of a split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sensorium import keypath
from sensorium.assembly import Model, load_model, open_split
from sensorium.contracts.data import Batch, map_tensors
from sensorium.contracts.run import Evaluation
from sensorium.engine.evaluation import evaluate as measure
from sensorium.engine.loader import Loader
from sensorium.errors import MediaError, SensoriumError, UserError, unknown
from sensorium.execution import device
from sensorium.experiment import check, override
from sensorium.rows import Alone


@dataclass(frozen=True)
class Prepared:
    """An example that a model can be asked about.

    Attributes:
        example: Field -> raw value.
        values: Field -> transformed value.
    """

    example: Mapping[str, Any]
    values: Mapping[str, Any]


class Predictor:
    """Answers questions with a trained model: raw values in, what a person understands out."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.device = device()
        model.task.to(self.device)

    @classmethod
    def load(cls, folder: str | Path) -> Predictor:
        """Returns the predictor of a model folder.

        Raises:
            UserError: The folder is not a whole checkpoint.
        """
        return cls(load_model(folder))

    def ask(self, fields: Sequence[str]) -> dict[str, Any]:
        """Returns the answer to `field=value` texts, as the command line gives them.

        Raises:
            UserError: A field is unknown, missing, or its value cannot be read.
        """
        given = {}
        for item in fields:
            found = keypath.named(item)
            if found is None:
                raise UserError(f"{item!r} is not an input.", "Inputs have the form field=value or field=path.")
            given[found[0]] = found[1]
        return self([given])[0]

    def __call__(self, examples: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Returns name -> encoded output for each of several examples of the same fields.

        Raises:
            UserError: A field is unknown, missing, or its value cannot be read.
        """
        return self.answer([self.prepare(example) for example in examples])

    def cost(self, example: Mapping[str, Any]) -> int:
        """Returns the bytes of memory that decoding an example may take, told without decoding it."""
        inputs = self.model.task.inputs
        return sum(inputs[name].cost(raw) for name, raw in example.items() if name in inputs)

    @torch.no_grad()
    def prepare(self, example: Mapping[str, Any]) -> Prepared:
        """Returns an example checked, decoded and transformed.

        Raises:
            UserError: A field is unknown, missing, or its value cannot be read.
        """
        self.check(example)
        values = {}
        for name, raw in example.items():
            modality = self.model.task.inputs[name]
            try:
                values[name] = modality.transform(modality.decode(raw), None)
            except MediaError as cause:
                raise MediaError(f"Input {name!r}: {cause.wrong}", cause.expected, cause.hint) from cause
        return Prepared(example, values)

    @torch.no_grad()
    def answer(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        """Returns name -> encoded output for each of several prepared examples of the same fields.

        On a processor each has the digits that it has alone (see `sensorium.rows`).
        """
        task = self.model.task
        # All have one id: what is drawn at random for an example must not depend on its neighbours.
        batch = Batch([{"id": "", **each.example} for each in prepared])
        for name in prepared[0].values:
            batch.fields[name] = task.inputs[name].collate([each.values[name] for each in prepared])
        with Alone():
            outputs = task.predict(batch.to(self.device))
        undeclared = [name for name in outputs if name not in task.outputs]
        if undeclared or not outputs:
            raise SensoriumError(
                f"The task {type(task).__name__} answers {', '.join(undeclared) or 'nothing'};"
                f" `outputs` declares {', '.join(task.outputs) or 'nothing'}."
            )
        return [
            {
                name: task.outputs[name].encode(map_tensors(values, lambda t, row=row: t[row].cpu()))
                for name, values in outputs.items()
            }
            for row in range(len(prepared))
        ]

    def check(self, example: Mapping[str, Any]) -> None:
        """Checks the names of an example's fields.

        Raises:
            UserError: One is unknown or missing.
        """
        task = self.model.task
        for name in example:
            if name not in task.inputs:
                raise unknown("input", name, task.inputs)
        missing = [name for name in task.inputs if name not in example and name not in task.optional]
        if missing or not example:
            raise UserError(
                f"Missing: {', '.join(missing) or 'an input'}.",
                f"Inputs are {', '.join(task.inputs)}.",
                "Give field=value.",
            )


def evaluate(folder: str | Path, split: str | None = None, overrides: Sequence[str] = ()) -> Evaluation:
    """Returns the figures of a model on a split of its dataset; overrides may name another dataset.

    Without a name it is the split that was measured at the end of the training.

    Raises:
        UserError: The folder is not a whole checkpoint, or there is no such split.
    """
    model = load_model(folder)
    loaded = model.loaded
    if overrides:
        loaded = check(override(loaded.plain(), overrides), loaded.plugins)
    model.task.to(device())
    settings = loaded.experiment
    name = split or settings.evaluation.split
    samples = open_split(loaded, model.modalities, name)
    with Loader(samples, model.modalities, settings.run.threads) as loader:
        return measure(
            model.task,
            loader,
            name,
            device(),
            settings.evaluation.batch,
            contributions=settings.evaluation.contributions,
        )
