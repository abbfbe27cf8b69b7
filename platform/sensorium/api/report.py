"""What a training or an evaluation ends with: a table of its metrics, and what can be done next, on one screen."""

from __future__ import annotations

import shlex
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.api.options import WIDTH
from sensorium.contracts.metric import less_is_better
from sensorium.redaction import HIDDEN

if TYPE_CHECKING:
    from sensorium.contracts.task import Task

CONTRIBUTION = "contribution."
"""How names begin that say by how much a metric falls without an input."""


def table(metrics: Mapping[str, float]) -> list[str]:
    """Returns the lines of a table: each metric, its value, and its value without each input; ↓ marks those to lower.

    Columns that a screen does not hold stand below, with the metrics that have them.

    Args:
        metrics: As an evaluation names them; `contribution.<input>.<metric>` is by how much a metric is better with an
            input's own values than with those of other samples.
    """
    values = {name: value for name, value in metrics.items() if not name.startswith(CONTRIBUTION)}
    without: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        metric = _metric_of(name, values)
        if metric is not None:
            field = name.removeprefix(CONTRIBUTION).removesuffix(f".{metric}")
            without.setdefault(field, {})[metric] = values[metric] - value
    columns = {"value": values, **{f"without {field}": found for field, found in without.items()}}
    lines: list[str] = []
    while columns:
        lines += _block(values, columns)
    return [*lines, "↓ lower is better"] if any(map(less_is_better, values)) else lines


def ending(result: Mapping[str, Any], task: Task, advice: str) -> list[str]:
    """Returns the lines that a training ends with.

    Args:
        result: What the training returned.
        task: That was trained.
        advice: What has to be said for its own plugins to be loaded, such as `--plugins mine`.
    """
    model = here(result["model"])
    uri = str(result["model_uri"] or "")
    named = shlex.quote(uri if uri.startswith("models:/") else model)  # else only the run holds it
    return [
        f"run      {result['run']}",
        f"model    {model}",
        *_speed(result["samples_per_second"]),
        *table(result["metrics"]),
        *sentences(result["examples"]),
        *record(result["tracking_uri"], result["run_id"]),
        f"predict  sensorium predict {named} {question(task)}{advice}",
        f"serve    sensorium serve {named}{advice}",
    ]


def sentences(examples: Sequence[str]) -> list[str]:
    """Returns the lines of an evaluation's examples."""
    return [line for text in examples for line in textwrap.wrap(text, WIDTH, break_on_hyphens=False)]


def record(uri: str, run_id: str) -> list[str]:
    """Returns the lines that say where a record is; none where there is none."""
    if not uri:
        return []
    kind, _, path = uri.rpartition(":///")
    shown = f"{kind}:///{here(path)}" if kind == "sqlite" else uri
    if HIDDEN in uri:  # the password is in the variable alone
        return [f"record   {uri}, MLflow run {run_id}"]
    look = shown if uri.startswith("http") else f"mlflow ui --backend-store-uri {shlex.quote(shown)}"
    return [f"record   MLflow run {run_id}", f"look at  {look}"]


def question(task: Task) -> str:
    """Returns what is said to ask a model of a task: each input that it needs, and what stands for its value."""
    needed = [name for name in task.inputs if name not in task.optional] or list(task.inputs)[:1]
    return " ".join(f"{shlex.quote(name)}={'FILE' if task.inputs[name].accepts else 'VALUE'}" for name in needed)


def here(path: str) -> str:
    """Returns a path as it is written in the working folder."""
    place = Path(path)
    return str(place.relative_to(Path.cwd())) if place.is_relative_to(Path.cwd()) else path


def _speed(samples_per_second: float) -> list[str]:
    """Returns the line of the speed; none where there were too few steps to measure it."""
    digits = ".0f" if samples_per_second >= 10 else ".2g"
    return [f"speed    {samples_per_second:{digits}} samples/s"] if samples_per_second else []


def _block(names: Iterable[str], columns: dict[str, dict[str, float]]) -> list[str]:
    """Takes out the first of the columns, as many as a screen holds; returns their lines."""
    first, taken = ["metric", *names], dict[str, list[str]]()
    room = WIDTH - 2 - max(map(len, first))
    while columns:
        title, found = next(iter(columns.items()))
        cells = [title, *(f"{found[name]:.4f}" if name in found else "" for name in names)]
        width = max(map(len, cells))
        room -= width + 2
        if taken and room < 0:
            break
        taken[title] = [cell.rjust(width) for cell in cells]
        del columns[title]
    width = max(map(len, first))
    lines = []
    for row, name in enumerate(first):
        cells = [column[row] for column in taken.values()]
        if any(cell.strip() for cell in cells):
            mark = "↓" if row and less_is_better(name) else " "
            lines.append("  ".join([f"{mark} {name.ljust(width)}", *cells]).rstrip())
    return lines


def _metric_of(name: str, values: Mapping[str, float]) -> str | None:
    """Returns the metric that a contribution is to, whose name is the longest that fits; None if it is none."""
    if not name.startswith(CONTRIBUTION):
        return None
    fitting = [metric for metric in values if name.endswith(f".{metric}")]
    return max(fitting, key=len, default=None)
