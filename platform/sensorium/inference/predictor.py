"""A trained model put to use: one answer, or the metrics of a split."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from sensorium.assembly import checks
from sensorium.assembly.build import Model, load_model, open_split
from sensorium.contracts.data import Batch, check_rows, map_tensors
from sensorium.contracts.geometry import Geometry
from sensorium.contracts.modality import Modality
from sensorium.contracts.reading import read
from sensorium.contracts.run import Evaluation
from sensorium.engine.evaluation import evaluate as measure
from sensorium.engine.evaluation import merged
from sensorium.engine.loader import Loader
from sensorium.engine.parallel import device
from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.experiment import keypath
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check
from sensorium.inference.rows import Alone


def written(name: str, text: str, modality: Modality | None) -> Any:
    """Returns the raw value that a text on the command line stands for: itself, or the list or object that it writes.

    Args:
        name: The input, for messages.
        text: What stands behind its name.
        modality: The input's; None for one that is not known.

    Raises:
        UserError: The modality takes lists or objects, and the text is not JSON.
    """
    kind = "string" if modality is None or modality.accepts else modality.json_schema().get("type")
    if kind not in ("array", "object"):
        return text
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as cause:
        example = json.dumps(["a", "b"] if kind == "array" else {"a": ["b"]})
        raise UserError(
            f"Input {name!r} is {text[:80]!r}, which is not JSON.",
            f"{'A list' if kind == 'array' else 'An object'} was expected, in the form of {example}.",
            "Put it in single quotes, as the shell takes double ones away.",
        ) from cause


@dataclass(frozen=True)
class Prepared:
    """An example that a model can be asked about.

    Attributes:
        example: Field -> raw value.
        values: Field -> transformed value.
        placed: Field of a picture that others follow, or outputs lie over -> where its parts come to lie.
    """

    example: Mapping[str, Any]
    values: Mapping[str, Any]
    placed: Mapping[str, Geometry] = field(default_factory=dict)


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
            given[found[0]] = written(*found, self.model.task.inputs.get(found[0]))
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
        task = self.model.task
        inputs = {name: task.inputs[name] for name in example}
        missing = {modality.follows for modality in inputs.values() if modality.follows} - set(inputs)
        if missing:
            names = ", ".join(sorted(missing))
            raise UserError(f"Missing: {names}.", "Another input lies over it.", f"Give {names}=… too.")
        values, placed = read(example, inputs, None, "Input")
        for name in {modality.follows for modality in task.outputs.values()} & set(inputs) - set(placed):
            assert name is not None
            placed[name] = inputs[name].geometry(inputs[name].decode(example[name]), None)
        return Prepared(example, values, placed)

    @torch.no_grad()
    def answer(self, prepared: Sequence[Prepared]) -> list[dict[str, Any]]:
        """Returns name -> encoded output for each of several prepared examples of the same fields.

        On a processor each has the digits that it has alone (see `sensorium.inference.rows`).
        """
        task = self.model.task
        if not task.batches and len(prepared) > 1:
            return [self.answer([each])[0] for each in prepared]
        fields = {
            name: task.inputs[name].collate([each.values[name] for each in prepared]) for name in prepared[0].values
        }
        # All have one id: what is drawn at random for an example must not depend on its neighbours.
        batch = Batch([{"id": "", **each.example} for each in prepared], fields)
        with Alone():
            outputs = task.predict(batch.to(self.device))
        undeclared = [name for name in outputs if name not in task.outputs]
        if undeclared or not outputs:
            raise SensoriumError(
                f"The task {type(task).__name__} answers {', '.join(undeclared) or 'nothing'};"
                f" `outputs` declares {', '.join(task.outputs) or 'nothing'}."
            )
        for name, values in outputs.items():
            check_rows(f"The output {name!r}", values, len(prepared))
        return [
            {
                name: self._encoded(task.outputs[name], map_tensors(values, lambda t, row=row: t[row].cpu()), each)
                for name, values in outputs.items()
            }
            for row, each in enumerate(prepared)
        ]

    @staticmethod
    def _encoded(modality: Modality, value: Any, prepared: Prepared) -> Any:
        """Returns an output as a person understands it, on the picture that was sent where it lies over one."""
        placed = prepared.placed.get(modality.follows or "")
        return modality.encode(value if placed is None else modality.put_back(value, placed))

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
    """Returns the metrics of a model on a split of its dataset; overrides may name another dataset.

    Without a name it is the split that was measured at the end of the training.

    Raises:
        UserError: The folder is not a whole checkpoint, or there is no such split.
        MediaError: A value of the split cannot be used.
    """
    model = load_model(folder)
    loaded = model.loaded
    if overrides:
        loaded = check(override(loaded.plain(), overrides), loaded.plugins)
    model.task.to(device())
    settings = loaded.experiment
    found = []
    for name in (split,) if split else settings.evaluation.finally_on:
        samples = open_split(loaded, model.modalities, name)
        if overrides:  # its own data have been looked at before it was trained
            media = settings.dataset.broken == "refuse"  # otherwise they have been read
            checks.look({name: samples}, model.modalities, settings.run.threads, media)
        with Loader(samples, model.modalities, settings.run.threads) as loader:
            found.append(
                measure(
                    model.task,
                    loader,
                    name,
                    device(),
                    settings.evaluation.batch,
                    contributions=settings.evaluation.contributions,
                )
            )
    return merged(found)
