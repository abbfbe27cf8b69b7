"""Embeddings of a dataset, made ready to be searched."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from sensorium.api.options import warn
from sensorium.cli.options import Allowed, Json, ModelName, Overrides, print_json


def index(
    model: ModelName,
    source: Annotated[
        str, typer.Argument(metavar="FILES|NAME:SPLIT", help="A split of a dataset, or files such as 'photos/*.jpg'.")
    ],
    output: Annotated[str, typer.Option(metavar="FOLDER", help="New folder for the index, or its URI.")],
    options: Overrides = None,
    field: Annotated[
        list[str] | None,
        typer.Option(metavar="FIELD", help="Field to index, where there is a choice; may be repeated."),
    ] = None,
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Index the embeddings of a dataset, to be searched.

    Example:
        sensorium index models:/digits/1 digits:test --field image --output index
        sensorium index models:/bind/1 :test --field image --field depth --output all
    """
    from sensorium.inference.bulk import plan
    from sensorium.inference.index import make
    from sensorium.inference.predictor import Predictor
    from sensorium.tracking.models import fetch

    predictor = Predictor.load(fetch(model))
    made = make(predictor, plan(model, predictor, source, options or []), field or [], output)
    if made.errors:
        warn(f"{len(made.errors)} could not be read, the first is {made.errors[0]}")
    if as_json:
        print_json({"output": str(output), "errors": len(made.errors), **asdict(made.about)})
    else:
        about = made.about
        print(f"{about.rows} embeddings of {about.dim} numbers of {', '.join(about.inputs)} in {output}")
