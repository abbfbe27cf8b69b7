"""What a model takes and gives, as plain data that travel to whoever writes the API down."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from sensorium.contracts.modality import Modality
from sensorium.errors import UserError
from sensorium.inference.predictor import Predictor


@dataclass(frozen=True)
class Input:
    """An input.

    Attributes:
        accepts: MIME types of its files; empty for values that JSON holds.
        schema: JSON Schema of its value in JSON.
        optional: Whether the model can do without.
        example: A value in JSON.
    """

    accepts: tuple[str, ...]
    schema: Mapping[str, Any]
    optional: bool
    example: Any


@dataclass(frozen=True)
class Output:
    """An output.

    Attributes:
        media_type: MIME type.
        schema: JSON Schema of its value in JSON.
    """

    media_type: str
    schema: Mapping[str, Any]

    @property
    def is_medium(self) -> bool:
        """Whether it is bytes, which JSON holds as base64."""
        return not self.media_type.startswith(("application/json", "text/"))


@dataclass(frozen=True)
class Description:
    """What a model takes and gives.

    Attributes:
        summary: What the task is, in a sentence.
        version: Which model it is.
        inputs: Field -> input.
        outputs: Name -> output.
        answer: The answer to the inputs' examples, in JSON.
        embeddings: Input -> the output that is its embedding.
        fingerprint: SHA-256 of the model's manifest, by which an index knows it.
        refused: A version that was to go live and could not, and why; this one stays.
    """

    summary: str
    version: str
    inputs: Mapping[str, Input]
    outputs: Mapping[str, Output]
    answer: Mapping[str, Any]
    embeddings: Mapping[str, str] = field(default_factory=dict)
    fingerprint: str = ""
    refused: str = ""


def describe(predictor: Predictor, version: str) -> Description:
    """Returns the description of a model that has answered a made-up question.

    Raises:
        UserError: It answers none.
    """
    task = predictor.model.task
    _, answer = probe(predictor)
    inputs = {
        name: Input(modality.accepts, taken(modality), name in task.optional, as_json(example))
        for (name, modality), example in zip(task.inputs.items(), examples(predictor).values(), strict=True)
    }
    outputs = {name: Output(modality.media_type, modality.encoded_schema()) for name, modality in task.outputs.items()}
    shown = {name: as_json(value) for name, value in answer.items()}
    summary = (type(task).__doc__ or "").strip().partition("\n")[0]
    return Description(summary, version, inputs, outputs, shown, dict(task.embeddings))


def examples(predictor: Predictor, seed: int = 0) -> dict[str, Any]:
    """Returns a made-up raw value for each input."""
    random = torch.Generator().manual_seed(seed)
    return {name: modality.example(random) for name, modality in predictor.model.task.inputs.items()}


def probe(predictor: Predictor) -> tuple[dict[str, Any], dict[str, Any]]:
    """Returns a made-up question that the model answers, and the answer: all inputs, or as few as it can do with.

    Raises:
        UserError: It answers none.
    """
    task, everything = predictor.model.task, examples(predictor)
    required = {name: value for name, value in everything.items() if name not in task.optional}
    fewest = required or dict(list(everything.items())[:1])
    try:
        return everything, predictor([everything])[0]
    except UserError:
        return fewest, predictor([fewest])[0]


def taken(modality: Modality) -> dict[str, Any]:
    """Returns the JSON Schema of a raw value: base64 for files."""
    if not modality.accepts:
        return modality.json_schema()
    return {"type": "string", "contentEncoding": "base64", "contentMediaType": modality.accepts[0]}


def as_json(value: Any) -> Any:
    """Returns a value as JSON holds it: bytes as base64."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value
