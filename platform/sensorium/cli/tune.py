"""Searching for the best options."""

from __future__ import annotations

import json
from functools import partial
from typing import Annotated, Any

import typer

from sensorium.cli.options import Address, Allowed, Json, Overrides, TaskOrFile, print_json, told_apart, warn


def tune(
    task: TaskOrFile = None,
    overrides: Overrides = None,
    trials: Annotated[int | None, typer.Option(metavar="N", help="Number of trials.")] = None,
    concurrent: Annotated[int | None, typer.Option(metavar="N", help="Trials at a time at most.")] = None,
    time_budget: Annotated[
        str | None, typer.Option(metavar="TIME", help="Longest time of the search: 90s, 30m or 2h.")
    ] = None,
    method: Annotated[str | None, typer.Option(metavar="METHOD", help="random, asha, optuna or pbt.")] = None,
    workers: Annotated[int | None, typer.Option(metavar="N", help="Number of workers of each trial.")] = None,
    address: Address = None,
    resume: Annotated[
        str | None, typer.Option(metavar="SEARCH", help="Go on with a search, by name or folder.")
    ] = None,
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Search the options of a task, or of a file, for the best.

    Example:
        sensorium tune clip --trials 4 --method asha
    """
    from sensorium.modules import advice
    from sensorium.runtime.tune import search
    from sensorium.training.interrupts import terminable
    from sensorium.tuning.session import resumed, started

    task, changes = told_apart(task, overrides, resume)
    if (task is None) == (resume is None):
        raise typer.BadParameter("give a TASK or FILE, or --resume SEARCH")
    given = {
        "search.trials": trials,
        "search.concurrent": concurrent,
        "search.time_budget": time_budget,
        "search.method": method,
        "run.workers": workers,
    }
    extra = [*changes, *(f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None)]
    with terminable():
        tuning = started(task, extra) if task is not None else resumed(str(resume), extra)
        for note in tuning.notes:
            warn(note)
        warn(f"{tuning.run.name}: {len(tuning.trials.left())} of {tuning.trials.search.trials} trials to do")
        try:
            result = tuning.search(partial(search, address=address), _tell)
        except KeyboardInterrupt:
            with_plugins = advice(tuning.loaded.plugins.modules)
            warn(f"Stopped. Resume with `sensorium tune --resume {tuning.run.name}{with_plugins}`.")
            raise
    if as_json:
        print_json(result)
    else:
        _show(result)


def _tell(trial: Any) -> None:
    value = "" if trial.value is None else f"  {trial.value:.4g}"
    warn(f"trial {trial.number} {trial.status}{value}  {_written(trial.parameters)}  {trial.error}".rstrip())


def _show(result: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    from sensorium.cli.report import here, record

    table = Table("trial", "status", result["metric"], "epochs", "seconds", "parameters")
    for row in sorted(result["trials"], key=lambda row: row["trial"] != result["best"]["trial"]):
        value = "" if row["metric"] is None else f"{row['metric']:.4f}"
        table.add_row(
            str(row["trial"]),
            row["status"],
            value,
            str(row["epoch"]),
            f"{row['seconds']:.1f}",
            _written(row["parameters"]),
        )
    Console().print(table)
    best = result["best"]
    print(f"best     trial {best['trial']}: {result['metric']} {best['metric']:.4f}")
    print(f"folder   {here(result['folder'])}")
    print(*record(result["tracking_uri"], result["run_id"]), sep="\n")
    if best["model_uri"]:
        print(f"model    {best['model_uri']}")
    print(f"go on    sensorium train {here(best['experiment'])}")


def _written(parameters: dict[str, Any]) -> str:
    return " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in parameters.items()
    )
