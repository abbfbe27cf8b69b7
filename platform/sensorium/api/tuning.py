"""A search from its call to its result, for the command line and for Python."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sensorium.api.options import WIDTH, modules, named, overrides, warn
from sensorium.api.report import here, record
from sensorium.api.shown import Shown
from sensorium.errors import UserError
from sensorium.modules import advice, allow


def tune(
    task: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    resume: str | None = None,
    address: str | None = None,
    plugins: Sequence[str] = (),
) -> Searched:
    """Searches the options of a task, or of an experiment file, for the best.

    Args:
        task: A task's name, or an experiment file; None where a search is resumed.
        options: `key.path` -> value, put over the experiment: `{"search.trials": 4, "search.method": "asha"}`.
        resume: A search to go on with instead, by name or folder.
        address: Ray cluster to join.
        plugins: Modules, not installed, that a resumed search may load.

    Raises:
        UserError: Something does not fit; nothing has been started.
        SensoriumError: No trial reached an evaluation.
        KeyboardInterrupt: It was interrupted; how to resume is printed.
    """
    if (task is None) == (resume is None):
        raise UserError("Either a task or a search to resume was expected.", "", 'Such as tune("clip").')
    task, resume, address = (
        each if each is None else named(name, each)
        for name, each in {"task": task, "resume": resume, "address": address}.items()
    )
    allow(modules(plugins))
    return Searched(run(task, resume, overrides(options), address))


@dataclass(frozen=True, repr=False)
class Searched(Shown):
    """A search that is done.

    Attributes:
        result: What `tune --json` prints.
    """

    result: Mapping[str, Any]

    @property
    def best(self) -> Mapping[str, Any]:
        """The best trial: its number, parameters, metric, and the experiment that trains it."""
        return dict(self.result["best"])

    @property
    def trials(self) -> list[dict[str, Any]]:
        """A row for each trial, the best first."""
        return sorted(self.result["trials"], key=lambda row: row["trial"] != self.result["best"]["trial"])

    def lines(self) -> list[str]:
        """Returns a line for each trial, and what can be done with the best."""
        best, metric = self.result["best"], self.result["metric"]
        head = ("trial", "status", metric, "epochs", "seconds", "parameters")
        rows = [head, *(_cells(row) for row in self.trials)]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head) - 1)]
        indent = " " * (sum(widths) + 2 * len(widths))
        padded = ["".join(f"{cell:{width + 2}}" for cell, width in zip(row, widths, strict=False)) for row in rows]
        return [
            *(
                line
                for begin, row in zip(padded, rows, strict=True)
                for line in textwrap.wrap(begin + row[-1], WIDTH, subsequent_indent=indent, break_long_words=False)
            ),
            f"best     trial {best['trial']}: {metric} {best['metric']:.4f}",
            f"folder   {here(self.result['folder'])}",
            *record(self.result["tracking_uri"], self.result["run_id"]),
            *([f"model    {best['model_uri']}"] if best["model_uri"] else []),
            f"go on    sensorium train {here(best['experiment'])}",
        ]


def run(task: str | None, resume: str | None, changes: Sequence[str], address: str | None) -> dict[str, Any]:
    """Searches, and returns what `tune --json` prints.

    Args:
        task: A task's name, or an experiment file; None where a search is resumed.
        resume: The search that is resumed; None for a new one.
        changes: `key.path=value` texts.
        address: Ray cluster to join.

    Raises:
        UserError: Something does not fit; nothing has been started.
        SensoriumError: No trial reached an evaluation.
        KeyboardInterrupt: It was interrupted.
    """
    from sensorium.runtime.tune import search
    from sensorium.training.interrupts import terminable
    from sensorium.tuning.session import resumed, started

    with terminable():
        tuning = started(task, changes) if task is not None else resumed(str(resume), changes)
        for note in tuning.notes:
            warn(note)
        warn(f"{tuning.run.name}: {len(tuning.trials.left())} of {tuning.trials.search.trials} trials to do")
        try:
            return tuning.search(partial(search, address=address), _tell)
        except KeyboardInterrupt:
            resuming = f"sensorium tune --resume {tuning.run.name}{advice(tuning.loaded.plugins.modules)}"
            warn(f"Stopped. Resume with `{resuming}`.")
            raise


def _tell(trial: Any) -> None:
    value = "" if trial.value is None else f"  {trial.value:.4g}"
    warn(f"trial {trial.number} {trial.status}{value}  {_written(trial.parameters)}  {trial.error}".rstrip())


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    value = "" if row["metric"] is None else f"{row['metric']:.4f}"
    return (
        str(row["trial"]),
        row["status"],
        value,
        str(row["epoch"]),
        f"{row['seconds']:.1f}",
        _written(row["parameters"]),
    )


def _written(parameters: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in parameters.items()
    )
