"""What an evaluation says of the pictures that were drawn.

Shapes: N samples of a split, C channels, H rows, W columns.
"""

from __future__ import annotations

import torch

from sensorium import Modality, Rows
from sensorium.builtin.judging import shares
from sensorium.ops.plots import Tile, in_rows, sheet

SHOWN = 8
"""Columns of a sheet."""


def metrics(rows: Rows) -> dict[str, float]:
    """Returns the shares that the judge finds right, and the mean cosines."""
    return shares(rows, "judge", "variation", "ceiling", "cosine")


def sheets(rows: Rows, image: Modality) -> dict[str, bytes]:
    """Returns `drawn.png`, sentences with pictures drawn of them, and `variations.png`, pictures with two each."""
    some = torch.linspace(0, len(rows["sentence"]) - 1, min(2 * SHOWN, len(rows["sentence"]))).long().tolist()
    drawn = [Tile(image.encode(rows["drawn"][place]), rows["sentence"][place]) for place in some]
    kinds = ("real", "variation", "second")
    varied = [[Tile(image.encode(rows[kind][place])) for place in some[:SHOWN]] for kind in kinds]
    return {
        "drawn.png": sheet(in_rows(drawn, SHOWN), (1.2, 1.3), wrap=22),
        "variations.png": sheet(varied, (1.2, 1.3)),
    }
