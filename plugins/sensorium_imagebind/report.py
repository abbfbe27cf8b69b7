"""What an evaluation of ImageBind shows: pictures that sounds find, alone and with words, and what a scene lights up.

Shapes: B samples, N samples of a split, C channels, h rows and w columns of a picture, H and W of a map.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Rows, Split
from sensorium.builtin.modalities.image import Image
from sensorium.ops.plots import Tile, sheet

SHOWN = 6


def lit(picture: Tensor, heat: Tensor) -> Tensor:
    """Returns pictures (B, C, h, w), from -1 to 1, that are dark where a map (B, H, W) is low."""
    grown = F.interpolate(heat[:, None].float(), picture.shape[2:], mode="bilinear")
    low, high = grown.amin((2, 3), True), grown.amax((2, 3), True)
    light = 0.15 + 0.85 * ((grown - low) / (high - low).clamp(min=1e-6)) ** 2
    return (picture + 1) * light - 1


def plots(task: Any, rows: Rows, split: Split) -> dict[str, bytes]:
    """Returns `found.png`: a column for each sample, with what lies nearest to it in the pictures.

    Args:
        task: The task.
        rows: Rows of the whole split.
        split: Where the samples come from.
    """
    image, first = task.config.image, next(iter(task.config.bound))
    if f"embedding.{image}" not in rows or task.told is None or "target" not in rows:
        return {}
    shown = torch.linspace(0, len(rows["id"]) - 1, min(SHOWN, len(rows["id"]))).long().tolist()
    names = task.labels[task.told].names
    lines: list[list[Tile | None]] = []
    for name in (each for each in task.config.bound if f"embedding.{each}" in rows):
        nearest = (rows[f"embedding.{name}"][shown] @ rows[f"embedding.{image}"].T).argmax(1).tolist()
        said = names_of(rows["target"][shown], names)
        right = (rows["target"][nearest] == rows["target"][shown]).tolist()
        lines.append(_line(task, split, nearest, [f"{name} of {word}" for word in said], right))
    if "sum" in rows:
        nearest = (rows["sum"][shown] @ rows[f"embedding.{image}"].T).argmax(1)
        asked = names_of(rows["asked"][shown], task.labels[task.added].names)
        said = [
            f"{first} of {word} + “{plus}”"
            for word, plus in zip(names_of(rows["target"][shown], names), asked, strict=True)
        ]
        hit = (rows["target"][nearest] == rows["target"][shown]) & (rows["property"][nearest] == rows["asked"][shown])
        lines.append(_line(task, split, nearest.tolist(), said, hit.tolist()))
    return {"found.png": sheet(lines, (1.5, 1.6))} if lines else {}


def names_of(indices: Tensor, names: Sequence[str]) -> list[str]:
    """Returns the names at some indices; `?` for one below 0, of what the training lacked."""
    return [names[index] if index >= 0 else "?" for index in indices.tolist()]


def examples(task: Any, rows: Rows) -> list[str]:
    """Returns what words say to the first sample of each modality."""
    if task.told is None or "target" not in rows:
        return []
    names = task.labels[task.told].names
    truth = names_of(rows["target"][:1], names)[0]
    said = {
        name: names_of(rows[f"logits.{name}_to_text"][:1].argmax(1), names)[0]
        for name in (task.config.image, *task.config.bound)
        if f"logits.{name}_to_text" in rows
    }
    return [f"{rows['id'][0]} is {truth!r}; " + ", ".join(f"by {name} {word!r}" for name, word in said.items()) + "."]


def _line(
    task: Any, split: Split, places: Sequence[int], titles: Sequence[str], right: Sequence[bool]
) -> list[Tile | None]:
    image: Image = task.modalities[task.config.image]
    return [
        Tile(image.seen(split[place][task.config.image]), title, "green" if good else "red")
        for place, title, good in zip(places, titles, right, strict=True)
    ]
