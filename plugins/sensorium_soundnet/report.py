"""What an evaluation of SoundNet shows.

Shapes: N clips, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from sensorium import Rows
from sensorium.ops.plots import figure, png


def untaught(rows: Rows) -> dict[str, float]:
    """Returns how often pool5 is right of what no teacher was taught; nothing if they were taught everything."""
    new = ~rows["taught"]
    if not new.any():
        return {}
    right = rows["logits.pool5"][new].argmax(-1) == rows["target.pool5"][new]
    return {"untaught_accuracy": float(right.double().mean())}


def confusion(chosen: Tensor, truth: Tensor, names: Sequence[str]) -> bytes:
    """Returns a PNG of what is taken for what; each row is a class and adds up to 1.

    Args:
        chosen: (N,) int64.
        truth: (N,) int64; those below 0 are of no class, and left out.
        names: Of the C classes.
    """
    count, known = len(names), truth >= 0
    table = torch.bincount((truth * count + chosen)[known], minlength=count**2).view(count, count).float()
    drawing = figure(5, 4.4)
    axes = drawing.add_subplot()
    drawn = axes.imshow((table / table.sum(1, keepdim=True).clamp(min=1)).numpy(), cmap="magma", vmin=0, vmax=1)
    axes.set_xticks(range(count), names, rotation=90, fontsize=7, parse_math=False)
    axes.set_yticks(range(count), names, fontsize=7, parse_math=False)
    axes.set_xlabel("by pool5")
    axes.set_ylabel("in truth")
    drawing.colorbar(drawn, label="share of the class")
    return png(drawing)
