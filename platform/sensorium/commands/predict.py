"""Putting a trained model to use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.commands.options import Json, ModelName, print_json


def predict(
    model: ModelName,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE-OR-PATH...")],
    output: Annotated[Path | None, typer.Option(help="Folder for media of the answer.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a trained model about one example."""
    from sensorium.prediction import Predictor
    from sensorium.tracking.models import fetch

    answer = Predictor.load(fetch(model)).ask(fields)
    shown = {name: _medium(name, value, output) for name, value in answer.items()}
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        text = json.dumps(value, ensure_ascii=False)
        print(f"{name:20} {text if len(text) < 200 else text[:200] + ' …'}")


def _medium(name: str, value: Any, folder: Path | None) -> Any:
    if not isinstance(value, bytes):
        return value
    place = folder or Path.cwd()
    place.mkdir(parents=True, exist_ok=True)
    suffix = ".png" if value.startswith(b"\x89PNG") else ".wav"
    path = place / f"{name}{suffix}"
    path.write_bytes(value)
    return str(path)
