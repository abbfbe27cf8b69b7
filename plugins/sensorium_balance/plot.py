"""What is seen of balance: how many samples of each class are told by all inputs, and by each alone.

Shapes: N samples, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from sensorium import Rows
from sensorium.ops.plots import figure, png


def by_class(rows: Rows, logits: str, classes: int) -> Tensor:
    """Returns the share of each class that logits (N, C) tell, (C,); 0 for a class without samples."""
    target = rows[logits.replace("logits", "target", 1)]
    right = rows[logits].argmax(1) == target
    known = target >= 0
    counts = torch.bincount(target[known], minlength=classes)
    return torch.bincount(target[known & right], minlength=classes) / counts.clamp(min=1)


def bars(right: Mapping[str, Tensor], names: Sequence[str]) -> bytes:
    """Returns a PNG with a group of bars for each class.

    Args:
        right: What is told by -> the share of each class, (C,).
        names: Those of the classes.
    """
    drawn = figure(6.4, 2.6)
    axes, width = drawn.add_subplot(), 0.8 / len(right)
    for turn, (name, shares) in enumerate(right.items()):
        places = torch.arange(len(shares)) + (turn - (len(right) - 1) / 2) * width
        axes.bar(places.numpy(), shares.numpy(), width, label=name.replace("_", " "))
    axes.set_xticks(range(len(names)), names, fontsize=8, parse_math=False)
    axes.set_ylabel("share told right")
    axes.set_ylim(0, 1)
    legend = axes.legend(ncols=len(right), loc="upper center", bbox_to_anchor=(0.5, 1.22), frameon=False)
    for text in legend.get_texts():
        text.set_parse_math(False)
    return png(drawn)
