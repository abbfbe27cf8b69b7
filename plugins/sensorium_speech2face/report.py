"""What speech2face shows: voices, the faces that are drawn of them, those of who spoke, and those that are found."""

from __future__ import annotations

import io
from typing import Any

import torch

from sensorium import Rows, Split
from sensorium.ops.plots import figure, png

SHOWN = 6
"""Voices."""
FOUND = 5
"""Faces that are found for each."""


def faces(rows: Rows, split: Split, task: Any) -> bytes:
    """Returns a PNG: a row for each of a few voices of the first gallery, with a green frame around the right face.

    Args:
        rows: Of the split.
        split: What was evaluated.
        task: For its modalities.
    """
    from PIL import Image

    config, modalities = task.config, task.modalities
    size = min(config.gallery, len(split))
    near = rows["feature.voice"][:size] @ rows["feature.told"][:size].T
    places = torch.linspace(0, size - 1, min(SHOWN, size)).long().tolist()
    found = near.topk(min(FOUND, size)).indices
    drawn = figure(1.15 * (3 + found.shape[1]) + 0.6, 1.2 * len(places))
    grid = drawn.subplots(len(places), 3 + found.shape[1], squeeze=False)

    def show(axes: Any, picture: bytes) -> None:
        with Image.open(io.BytesIO(picture)) as opened:
            axes.imshow(opened.convert("RGB"), interpolation="nearest")

    def seen(field: str, place: int) -> bytes:
        shown: bytes = modalities[field].seen(split[place][field])
        return shown

    titles = ("the voice", "drawn from it", "who spoke", *(f"found: {n + 1}." for n in range(found.shape[1])))
    for line, place in zip(grid, places, strict=True):
        wave = modalities[config.audio].decode(split[place][config.audio])[0]
        line[0].plot(wave.numpy(), linewidth=0.3, color="tab:blue")
        show(line[1], task.outputs["face"].encode(rows["face"][place]))
        show(line[2], seen(config.passport or config.image, place))
        for axes, other in zip(line[3:], found[place].tolist(), strict=True):
            show(axes, seen(config.image, other))
            right = bool(rows["group"][other] == rows["group"][place])
            axes.patch.set_visible(False)
            for spine in axes.spines.values():
                spine.set(edgecolor="limegreen" if right else "none", linewidth=4)
    for column, title in enumerate(titles):
        grid[0, column].set_title(title, fontsize=8)
    for axes in grid.flat:
        axes.set_xticks([])
        axes.set_yticks([])
    for axes in grid[:, :3].flat:
        axes.set_frame_on(False)
    return png(drawn)
