"""What an evaluation says of the pictures that were drawn.

Shapes: N samples of a split, C channels, H rows, W columns.
"""

from __future__ import annotations

from collections import defaultdict

from sensorium import Modality, Rows
from sensorium.builtin.judging import shares
from sensorium.ops.plots import Tile, sheet
from sensorium.ops.ranking import auc

SENTENCES = 6
"""Rows of the sheet."""
DRAWN, REAL = 6, 3
"""Pictures in a row."""


def metrics(rows: Rows) -> dict[str, float]:
    """Returns the shares that the judge finds right, the area under the curve of matching."""
    found = shares(rows, "judge", "ceiling")
    found["match_auc"] = auc(rows["right"], rows["wrong"])
    return found


def drawn(rows: Rows, image: Modality) -> bytes:
    """Returns a PNG with a row for each of a few sentences: pictures drawn of it, then real ones."""
    members: defaultdict[str, list[int]] = defaultdict(list)
    for index, sentence in enumerate(rows["sentence"]):
        members[sentence].append(index)
    chosen = sorted(members, key=lambda sentence: -len(members[sentence]))[:SENTENCES]

    def tiles(kind: str, sentence: str, count: int, title: str) -> list[Tile | None]:
        found = [image.encode(rows[kind][index]) for index in members[sentence][:count]]
        made: list[Tile | None] = [Tile(picture, "" if place else title) for place, picture in enumerate(found)]
        return made + [None] * (count - len(made))

    lines = [tiles("drawn", each, DRAWN, each) + tiles("real", each, REAL, "real") for each in chosen]
    return sheet(lines, (1.0, 1.1), wrap=18)
