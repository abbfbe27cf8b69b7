"""What several commands share: their options, and how they print."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line of standard output.")]
Overrides = Annotated[list[str] | None, typer.Argument(metavar="[KEY.PATH=VALUE]...", help="Options to change.")]
Address = Annotated[str | None, typer.Option(help="Ray cluster to join, such as auto or HOST:6379.")]
MODEL = "A checkpoint folder, runs:/ID/model, or models:/NAME@ALIAS."
ModelName = Annotated[str, typer.Argument(metavar="MODEL", help=MODEL)]


def print_json(value: Any) -> None:
    """Prints a value as one line of JSON."""
    print(json.dumps(value, ensure_ascii=False), flush=True)


def warn(text: str) -> None:
    """Prints a sentence on standard error."""
    print(text, file=sys.stderr)
