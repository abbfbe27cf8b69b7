"""What an evaluation says of the pictures that were drawn.

Shapes: N samples of a split, C channels, H rows, W columns.
"""

from __future__ import annotations

import io
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor

from sensorium import Modality, Rows

SENTENCES = 6
"""Rows of the sheet."""
DRAWN, REAL = 6, 3
"""Pictures in a row."""


def metrics(rows: Rows) -> dict[str, float]:
    """Returns the shares that the judge finds right, the area under the curve of matching."""
    found = {
        name.replace(".", "_"): float(right.double().mean())
        for name, right in rows.items()
        if name.startswith(("judge.", "ceiling."))
    }
    found["match_auc"] = auc(rows["right"], rows["wrong"])
    return found


def auc(right: Tensor, wrong: Tensor) -> float:
    """Returns how often a right pair scores above a wrong one, (N,) against (N,); ties count half."""
    order = torch.cat([right, wrong]).double()
    _, place, counts = order.unique(return_inverse=True, return_counts=True)
    ranks = (counts.cumsum(0) - (counts - 1) / 2)[place]  # from 1, the mean where several are equal
    wins = ranks[: len(right)].sum() - len(right) * (len(right) + 1) / 2
    return float(wins / (len(right) * len(wrong)))


def sheet(rows: Rows, image: Modality) -> bytes:
    """Returns a PNG with a row for each of a few sentences: pictures drawn of it, then real ones."""
    from matplotlib.figure import Figure

    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, sentence in enumerate(rows["sentence"]):
        members[sentence].append(index)
    chosen = sorted(members, key=lambda sentence: -len(members[sentence]))[:SENTENCES]
    figure = Figure(figsize=(1.0 * (DRAWN + REAL), 1.1 * len(chosen)), dpi=80, layout="constrained")
    grid = figure.subplots(len(chosen), DRAWN + REAL, squeeze=False)
    for line, sentence in zip(grid, chosen, strict=True):
        for place, axes in enumerate(line):
            kind, turn = ("drawn", place) if place < DRAWN else ("real", place - DRAWN)
            axes.axis("off")
            if turn < len(members[sentence]):
                axes.imshow(_pixels(image, rows[kind][members[sentence][turn]]), interpolation="nearest")
        line[0].set_title(sentence, fontsize=7, loc="left", parse_math=False)
        line[DRAWN].set_title("real", fontsize=7, loc="left")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()


def _pixels(image: Modality, value: Tensor) -> Any:
    import numpy
    from PIL import Image as Pictures

    with Pictures.open(io.BytesIO(image.encode(value))) as opened:
        return numpy.asarray(opened.convert("RGB"))
