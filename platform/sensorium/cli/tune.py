"""Searching for the best options."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from sensorium.cli.options import Address, Allowed, Json, Overrides, TaskOrFile, print_json, told_apart


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
    from sensorium.api.tuning import Searched, run

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
    changes += [f"{key}={json.dumps(value)}" for key, value in given.items() if value is not None]
    result = run(task, resume, changes, address)
    if as_json:
        print_json(result)
    else:
        print(*Searched(result).lines(), sep="\n")
