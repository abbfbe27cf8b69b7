"""The card of a trained model: what it is, learnt from which data, how good over what, and whose weights it began from.

Its form is that of the Hugging Face Hub: Markdown, with YAML at its head.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from sensorium.assembly.build import Assembly
from sensorium.contracts.component import Config
from sensorium.contracts.parts import Encoder
from sensorium.contracts.run import Run
from sensorium.contracts.task import Task
from sensorium.errors import UserError

UNKNOWN = "not known"


@dataclass(frozen=True)
class Origin:
    """Weights that a part of a model began from.

    Attributes:
        part: Its place in the experiment.
        weights: As the experiment names them.
        licence: As their own card names it; empty where that names none.
    """

    part: str
    weights: str
    licence: str


def card(assembly: Assembly, run: Run, metrics: Mapping[str, float]) -> str:
    """Returns the card of a run's model.

    Args:
        assembly: What it was trained on.
        run: The run.
        metrics: Those of its last evaluation; none before it.
    """
    experiment, origins = assembly.loaded.experiment, list(began(assembly.loaded.experiment.model, "model"))
    licences = {origin.licence for origin in origins}
    head = [f"license: {licence}" for licence in licences if licence and len(licences) == 1]
    about = (type(assembly.task).__doc__ or "").strip().split("\n")[0]
    data = json.dumps(run.experiment["dataset"], indent=1, ensure_ascii=False)
    sizes = [f"| {name} | {len(split)} | {len(assembly.skipped.get(name, ()))} |" for name, split in splits(assembly)]
    versions = ", ".join(f"{name} {version}" for name, version in sorted(assembly.loaded.plugins.versions.items()))
    parts = [
        "\n".join(["---", *head, "library_name: sensorium", f"tags: [{experiment.task}]", "---"]),
        f"# {run.name}",
        f"The task `{experiment.task}`: {about}",
        f"{_fields('Given', assembly.task.inputs)} {_fields('Told', assembly.task.outputs)}",
        "## Data",
        f"```json\n{data}\n```",
        "\n".join(["| split | samples | left out as broken |", "|---|---|---|", *sizes]),
        "## Metrics",
        "\n".join(measured(metrics, list(assembly.task.inputs), list(assembly.splits))) or "Not measured.",
        "## Weights that it began from",
        "\n".join(_table(origins)) if origins else "None: it began from random weights.",
        "## Training",
        f"Seed {run.seed}, {run.steps} steps. `experiment.json` beside this file holds every option. {versions}.",
    ]
    return "\n\n".join(parts) + "\n"


def splits(assembly: Assembly) -> Iterator[tuple[str, Any]]:
    """Yields the splits that are trained or measured on."""
    settings = assembly.loaded.experiment
    used = {settings.training.plan(stage.name).split for stage in assembly.task.stages()}
    used |= set(settings.evaluation.finally_on)
    return ((name, split) for name, split in assembly.splits.items() if name in used)


def measured(metrics: Mapping[str, float], inputs: list[str], splits: list[str]) -> Iterator[str]:
    """Yields a table of metrics, each beside what is left of it when an input is that of another sample.

    That is what the model owes to chance and to its other inputs, measured by the same code.
    """
    rows, compared = {}, set()
    for name, value in metrics.items():
        if "contribution." in name:
            continue
        rows[name] = {"": value}
        for prefix in ("", *(f"{split}/" for split in splits)):
            for field in inputs:
                lost = metrics.get(f"{prefix}contribution.{field}.{name.removeprefix(prefix)}")
                if lost is not None and name.startswith(prefix):
                    rows[name][field] = value - lost
                    compared.add(field)
    if not rows:
        return
    columns = [field for field in inputs if field in compared]
    yield " | ".join(["| metric", "value", *(f"with `{field}` of other samples" for field in columns)]) + " |"
    yield "|---" * (2 + len(columns)) + "|"
    for name, row in rows.items():
        yield " | ".join([f"| {name}", *(f"{row[c]:.4f}" if c in row else "" for c in ("", *columns))]) + " |"
    if not columns:
        yield "\nNo baseline was measured: the model has one input, or `evaluation.contributions` was off."


def began(node: Any, place: str) -> Iterator[Origin]:
    """Yields the weights that the parts of a model begin from."""
    if isinstance(node, (Encoder.Config, Task.Config)) and getattr(node, "weights", None) is not None:
        yield Origin(place, str(node.weights), _licence(node))  # type: ignore[union-attr]
    if isinstance(node, Config) and is_dataclass(node):
        for entry in fields(node):
            yield from began(getattr(node, entry.name), f"{place}.{entry.name}")
    elif isinstance(node, Mapping):
        for key, item in node.items():
            yield from began(item, f"{place}.{key}")
    elif isinstance(node, (list, tuple)):
        for number, item in enumerate(node):
            yield from began(item, f"{place}.{number}")


def _licence(node: Config) -> str:
    try:
        return node.licence() if isinstance(node, Encoder.Config) else ""
    except UserError:  # resumed where the weights no longer lie
        return ""


def _table(origins: list[Origin]) -> Iterator[str]:
    yield from ("| part | weights | licence |", "|---|---|---|")
    for origin in origins:
        yield f"| `{origin.part}` | {origin.weights} | {origin.licence or UNKNOWN} |"


def _fields(word: str, modalities: Mapping[str, Any]) -> str:
    named = ", ".join(f"`{name}` ({modality.media_type})" for name, modality in modalities.items())
    return f"{word}: {named or 'nothing'}."
