"""A trained model in Python: asked, embedding, measured."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.api.options import modules, named, overrides
from sensorium.api.report import sentences, table
from sensorium.api.shown import Shown, media_type
from sensorium.errors import UserError
from sensorium.modules import allow

if TYPE_CHECKING:
    from numpy import ndarray

    from sensorium.inference.predictor import Predictor

PART, BATCH = 512, 32
"""Examples decoded, and computed, together at most."""


def load(model: str, *, plugins: Sequence[str] = ()) -> Model:
    """Returns a trained model.

    Args:
        model: A checkpoint folder, `runs:/RUN_ID/model`, `models:/NAME/VERSION` or `models:/NAME@ALIAS`.
        plugins: Modules, not installed, that it may load.

    Raises:
        UserError: There is no such model, or it wants to load a module that is not allowed.
    """
    from sensorium.inference.predictor import Predictor
    from sensorium.tracking.models import fetch

    allow(modules(plugins))
    return Model(Predictor.load(fetch(named("The model", model))))


def evaluate(
    model: str, split: str | None = None, options: Mapping[str, Any] | None = None, *, plugins: Sequence[str] = ()
) -> Measured:
    """Measures a trained model on a split of its dataset.

    Args:
        model: As for `load`.
        split: `train`, `validation` or `test`; None takes what was measured after the training.
        options: `key.path` -> value, put over the model's experiment, such as another dataset.
        plugins: Modules, not installed, that it may load.

    Raises:
        UserError: There is no such model or split, or an option does not fit.
        MediaError: A value of the split cannot be used.
    """
    from sensorium.inference.predictor import evaluate as measure
    from sensorium.tracking.models import fetch

    allow(modules(plugins))
    split = split if split is None else named("The split", split)
    found = measure(fetch(named("The model", model)), split, overrides(options))
    return Measured(found.split, dict(found.metrics), dict(found.plots), tuple(found.examples))


@dataclass(frozen=True, repr=False)
class Measured(Shown):
    """What an evaluation found.

    Attributes:
        split: What it was measured on.
        metrics: Name -> value.
        plots: Name -> PNG.
        examples: Sentences that show what the model does on a few samples.
    """

    split: str
    metrics: Mapping[str, float]
    plots: Mapping[str, bytes]
    examples: tuple[str, ...]

    def lines(self) -> list[str]:
        """Returns the table of the metrics, and the examples."""
        return [*table(self.metrics), *sentences(self.examples)]

    def media(self) -> Mapping[str, bytes]:
        """Returns the plots."""
        return self.plots


class Answer(dict[str, Any], Shown):
    """Output -> value: a text, a number, a list, or the bytes of a PNG, WAV or MP4."""

    __repr__ = Shown.__repr__

    def lines(self) -> list[str]:
        """Returns a line for each output, shortened."""
        return [f"{name:20} {_short(value)}" for name, value in self.items()]

    def media(self) -> Mapping[str, bytes]:
        """Returns the outputs that are media."""
        return {name: value for name, value in self.items() if isinstance(value, bytes)}


class Model(Shown):
    """A trained model.

    Args:
        predictor: What answers.
    """

    def __init__(self, predictor: Predictor) -> None:
        from sensorium.inference.exact import Exact

        self.predictor = predictor
        self._exact = Exact(predictor)

    def predict(self, **inputs: Any) -> Answer:
        """Returns the answer to one example, the same as `sensorium predict` gives.

        Args:
            inputs: Input -> value; media by path or as bytes.

        Raises:
            UserError: An input is unknown, missing, or its value cannot be read.
        """
        return Answer(self.predictor([{name: _plain(value) for name, value in inputs.items()}])[0])

    def embed(self, **inputs: Sequence[Any]) -> ndarray:
        """Returns the embeddings (N, D) of N values of an input, unit vectors of one space.

        Args:
            inputs: Input -> list of N values; of several, that with an embedding of its own first.

        Raises:
            UserError: The input has no embedding, values are not lists of one length, or one cannot be read.
        """
        import numpy as np

        embeddings = self.predictor.model.task.embeddings
        name = next(iter(inputs), "")
        if name not in embeddings:
            raise UserError(
                f"{name!r} has no embedding." if name else "No input was given.",
                f"Inputs with one: {', '.join(embeddings) or 'none'}.",
                "Such as embed(text=['a dog', 'a cat'])." if embeddings else "Choose another model.",
            )
        told = {
            key: len(each) if isinstance(each, (list, tuple)) else type(each).__name__ for key, each in inputs.items()
        }
        if len(set(told.values())) != 1 or not isinstance(told[name], int) or not told[name]:
            sizes = (f"{key} is {f'a list of length {n}' if isinstance(n, int) else n}" for key, n in told.items())
            raise UserError(
                f"These values cannot be embedded: {'; '.join(sizes)}.",
                "A list of values was expected, and of several inputs lists of one length.",
                f"Such as embed({name}=[…]).",
            )
        rows = (dict(zip(inputs, map(_plain, values), strict=True)) for values in zip(*inputs.values(), strict=True))
        found: list[Any] = []
        while some := [self.predictor.prepare(row) for row in islice(rows, PART)]:
            for answer in self._exact.of_any_shape(some, BATCH):
                if isinstance(answer, UserError):
                    raise answer
                found.append(answer[embeddings[name]])
        return np.asarray(found, dtype=np.float32)

    def export(self, folder: str, format: str = "onnx") -> list[Path]:
        """Writes the model down for use without Sensorium, and returns the files.

        Args:
            folder: A new or an empty one. Beside the graphs it gets `model.json`, which says what goes in and comes
                out, and how both are made of, and into, what people understand.
            format: `onnx`, or `torch` for `torch.export.load`.

        Raises:
            UserError: The format is unknown, what writes it is not installed, the folder holds something, or nothing
                of the model can be exported.
        """
        from sensorium.inference.export import export

        return export(self.predictor.model, named("The folder", folder), format)

    def lines(self) -> list[str]:
        """Returns what the model takes and answers."""
        task, plugins = self.predictor.model.task, self.predictor.model.loaded.plugins
        kinds = {
            way: ", ".join(f"{name} ({plugins.name_of(type(modality))})" for name, modality in named.items())
            for way, named in (("takes", task.inputs), ("answers", task.outputs))
        }
        return [f"{self.predictor.model.loaded.experiment.task}", *(f"  {way:8} {what}" for way, what in kinds.items())]


def _plain(value: Any) -> Any:
    """Returns a path as text; everything else as it is."""
    return str(value) if hasattr(value, "__fspath__") else value


def _short(value: Any, most: int = 200) -> str:
    if isinstance(value, bytes):
        return f"{media_type(value) or 'bytes'}, {len(value):,} bytes"
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) < most else f"{text[:most]} …"
