"""A trained model, taken out of Sensorium."""

from __future__ import annotations

from typing import Annotated

import typer

from sensorium.cli.options import Allowed, Json, ModelName, print_json


def export(
    model: ModelName,
    output: Annotated[str, typer.Option(metavar="FOLDER", help="New folder for the files.")],
    form: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="onnx, for ONNX Runtime, or torch, for torch.export.load.")
    ] = "onnx",
    plugins: Allowed = None,
    as_json: Json = False,
) -> None:
    """Write a trained model down for use without Sensorium.

    Example:
        sensorium export models:/digits/1 --output digits
    """
    from sensorium.api.model import load
    from sensorium.inference.export import check

    check(output, form)
    written = [str(path) for path in load(model).export(output, form)]
    if as_json:
        print_json({"files": written})
    else:
        print("\n".join(written))
