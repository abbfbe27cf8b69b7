"""What several commands share: their options, and how they print."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from sensorium.api.options import WIDTH
from sensorium.experiment.keypath import assignment

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="KEY.PATH=VALUE", help="Options to change.")]
Address = Annotated[str | None, typer.Option(metavar="ADDRESS", help="Ray cluster to join, such as auto or HOST:6379.")]
MODEL = "A checkpoint folder, runs:/RUN_ID/model, models:/NAME/VERSION or models:/NAME@ALIAS."
TaskOrFile = Annotated[
    str | None,
    typer.Argument(metavar="TASK|FILE", help="As `sensorium tasks` lists it; an experiment file; runs:/RUN_ID."),
]
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]


def _allow(names: str | None) -> None:
    from sensorium.modules import allow

    allow(names)


Allowed = Annotated[
    str | None,
    typer.Option(
        "--plugins",
        metavar="MODULE,...",
        callback=_allow,
        help="Modules, not installed, that the model or run may load.",
    ),
]
"""What is allowed is known to the process and its workers as soon as the command line is read."""


def row(name: str, text: str, column: int = 20) -> str:
    """Returns a row of a list, as lines that fit a screen.

    Args:
        name: What it begins with.
        text: What is said of it.
        column: Where that begins.
    """
    indent = " " * (column + 1)
    return textwrap.fill(f"{name.ljust(column)} {text}", WIDTH, subsequent_indent=indent, break_on_hyphens=False)


def print_json(value: Any) -> None:
    """Prints a value as one line of JSON; a number that is none, or infinite, is null."""
    print(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False), flush=True)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def told_apart(task: str | None, overrides: Sequence[str] | None, resume: str | None) -> tuple[str | None, list[str]]:
    """Returns the task and the overrides: who resumes names no task, and the first override stands in its place."""
    given = list(overrides or ())
    if task is not None and resume is not None and assignment(task) is not None:
        return None, [task, *given]
    return task, given
