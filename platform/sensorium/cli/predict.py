"""Putting a trained model to use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from sensorium.api.options import warn
from sensorium.api.shown import media_type
from sensorium.cli.options import Address, Allowed, Json, ModelName, print_json
from sensorium.paths import expanded


def predict(
    model: ModelName,
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="FIELD=VALUE", help="What to ask about; of a medium, its file.")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(metavar="FOLDER", help="Folder for media of the answer; with --input, for the answers."),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            metavar="FILES|NAME:SPLIT",
            help="Files such as 'photos/*.jpg', or NAME:SPLIT of a dataset, to ask about each.",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(metavar="N", help="With --input: questions computed together at most.")] = 32,
    workers: Annotated[int | None, typer.Option(metavar="N", help="With --input: processes at most.")] = None,
    address: Address = None,
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Ask a trained model about one example, or about each of many.

    Example:
        sensorium predict models:/digits/1 image=digit.png
    """
    if source is not None:
        _ask_many(model, source, fields or [], output, batch, workers, address, as_json)
        return
    from sensorium.inference.predictor import Predictor
    from sensorium.tracking.models import fetch

    predictor = Predictor.load(fetch(model))
    answer = predictor.ask(fields or _nothing_given(model, predictor))
    shown = {name: _medium(name, value, output) for name, value in answer.items()}
    if as_json:
        print_json(shown)
        return
    for name, value in shown.items():
        text = json.dumps(value, ensure_ascii=False)
        print(f"{name:20} {text if len(text) < 200 else text[:200] + ' …'}")


def _nothing_given(model: str, predictor: Any) -> NoReturn:
    """Says which inputs a model takes.

    Raises:
        UserError: Always.
    """
    from sensorium.api.report import question
    from sensorium.errors import UserError

    task = predictor.model.task
    taken = []
    for name, modality in task.inputs.items():
        kind = predictor.model.loaded.plugins.name_of(type(modality))
        taken.append(f"{name} ({kind}{' file' * bool(modality.accepts)}{', optional' * (name in task.optional)})")
    raise UserError(
        "No input was given.",
        f"{model} takes {', '.join(taken)}.",
        f"Such as: sensorium predict {model} {question(task)}",
    )


def _ask_many(
    model: str,
    source: str,
    options: list[str],
    output: str | None,
    batch: int,
    workers: int | None,
    address: str | None,
    as_json: bool,
) -> None:
    """Answers by Ray Data, into a folder of Parquet files that is gone on with after an interruption."""
    if output is None:
        raise typer.BadParameter("--input needs --output FOLDER.parquet")
    from sensorium.inference.bulk import Folder, plan
    from sensorium.inference.predictor import Predictor
    from sensorium.runtime.bulk import run
    from sensorium.tracking.models import fetch

    work = plan(model, Predictor.load(fetch(model)), source, options)
    folder = Folder(output, work)
    done = work.parts - len(folder.missing(work.parts))
    if done:
        warn(f"{done} of {work.parts} parts are there already.")
    for written, _ in enumerate(run(work, folder.place, workers, batch, address), done + 1):
        warn(f"part {written} of {work.parts}")
    counts = list(folder.counts())
    rows, errors = sum(count for count, _ in counts), sum(broken for _, broken in counts)
    if as_json:
        print_json({"output": folder.place, "rows": rows, "errors": errors, "parts": len(counts)})
    else:
        print(f"{rows} answers, {errors} of them errors, in {folder.place}")


def _medium(name: str, value: Any, folder: str | None) -> Any:
    if not isinstance(value, bytes):
        return value
    place = Path(expanded(folder or ".")).resolve()
    place.mkdir(parents=True, exist_ok=True)
    path = place / f"{name}.{media_type(value).rpartition('/')[2] or 'bin'}"
    path.write_bytes(value)
    return str(path)
