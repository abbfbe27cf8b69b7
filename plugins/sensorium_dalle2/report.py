"""What an evaluation says of the pictures that were drawn.

Shapes: N samples of a split, C channels, H rows, W columns.
"""

from __future__ import annotations

import io
from typing import Any

import torch
from torch import Tensor

from sensorium import Modality, Rows

SHOWN = 8
"""Columns of a sheet."""


def metrics(rows: Rows) -> dict[str, float]:
    """Returns the shares that the judge finds right, and the mean cosines."""
    return {
        name.replace(".", "_"): float(values.double().mean())
        for name, values in rows.items()
        if name.startswith(("judge.", "variation.", "ceiling.", "cosine."))
    }


def sheets(rows: Rows, image: Modality) -> dict[str, bytes]:
    """Returns `drawn.png`, sentences with pictures drawn of them, and `variations.png`, pictures with two each."""
    some = torch.linspace(0, len(rows["sentence"]) - 1, min(2 * SHOWN, len(rows["sentence"]))).long().tolist()
    lines = [[("drawn", place) for place in some[start : start + SHOWN]] for start in range(0, len(some), SHOWN)]
    titles = [[rows["sentence"][place] for _, place in line] for line in lines]
    columns = some[:SHOWN]
    kinds = ("real", "variation", "second")
    return {
        "drawn.png": _sheet(rows, image, lines, titles),
        "variations.png": _sheet(rows, image, [[(kind, place) for place in columns] for kind in kinds], []),
    }


def _sheet(rows: Rows, image: Modality, lines: list[list[tuple[str, int]]], titles: list[list[str]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(1.2 * SHOWN, 1.3 * len(lines)), dpi=80, layout="constrained")
    grid = figure.subplots(len(lines), SHOWN, squeeze=False)
    for number, line in enumerate(lines):
        for place, (kind, row) in enumerate(line):
            grid[number, place].imshow(_pixels(image, rows[kind][row]), interpolation="nearest")
            if titles:
                grid[number, place].set_title(titles[number][place], fontsize=6, wrap=True, parse_math=False)
    for axes in grid.flat:
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _pixels(image: Modality, value: Tensor) -> Any:
    import numpy
    from PIL import Image as Pictures

    with Pictures.open(io.BytesIO(image.encode(value))) as opened:
        return numpy.asarray(opened.convert("RGB"))
