"""How well maps tell where a sound comes from.

cIoU is that of A. Senocak et al., CVPR 2018, section 5.1, as their evaluation counts it; the threshold of the map is a
number here, where theirs takes the higher half of each picture, whatever its size.

Shapes: N samples, H rows and W columns of a map.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Rows
from sensorium.ops.ranking import auc

STEPS = torch.arange(-40, 41) / 40
"""Thresholds that are tried, of cosines."""


def located(rows: Rows, threshold: float) -> dict[str, float]:
    """Returns the metrics that the rows allow.

    Args:
        rows: `heat` (N, H, W); perhaps `truth` (N, H, W), `chosen` (N,), the place of the box with the highest value,
            the right one being 0; and `absent` (N,), the highest value for a sound that is not there, beside `best`.
        threshold: From which the map counts.
    """
    found: dict[str, float] = {}
    heat: Tensor = rows["heat"]
    if "chosen" in rows:
        found["choice"] = float((rows["chosen"] == 0).double().mean())
    if "absent" in rows:
        found["heard_auc"] = auc(rows["best"], rows["absent"])
    if "truth" in rows:
        truth = rows["truth"]
        highest = heat.flatten(1).argmax(1, keepdim=True)
        found["pointing"] = float((truth.flatten(1).gather(1, highest) > 0).double().mean())
        found |= covered("", ciou(heat >= threshold, truth))
        found |= covered("centre_", ciou(centre(truth), truth))
        shares = torch.stack([(ciou(heat >= each, truth) >= 0.5).double().mean() for each in STEPS.tolist()])
        # In the middle of all that are equally good: the least likely to be so by chance.
        best = (shares == shares.max()).nonzero()[:, 0]
        found["best_threshold"] = float(STEPS[best[len(best) // 2]])
    return found


def covered(prefix: str, values: Tensor) -> dict[str, float]:
    """Returns the share of cIoU (N,) of at least 0.5, and the area under the shares at 0, 0.05, … 1."""
    shares = torch.stack([(values >= 0.05 * step - 1e-9).double().mean() for step in range(21)])
    area = float(torch.trapezoid(shares, dx=0.05))
    return {f"{prefix}ciou": float((values >= 0.5).double().mean()), f"{prefix}ciou_area": area}


def ciou(mask: Tensor, truth: Tensor) -> Tensor:
    """Returns the consensus intersection over union, (N,): what is covered by truth, over that and what is not.

    Args:
        mask: (N, H, W) bool.
        truth: By how much people agree, from 0 to 1, (N, H, W).
    """
    inside = (truth * mask).sum((1, 2))
    outside = (mask & (truth == 0)).sum((1, 2))
    return inside / (truth.sum((1, 2)) + outside).clamp(min=1e-9)


def centre(truth: Tensor) -> Tensor:
    """Returns a square in the middle of each map, of the mean area of the truth, (N, H, W): what needs no sound."""
    height, width = truth.shape[1:]
    side = float((truth > 0).sum((1, 2)).double().mean()) ** 0.5
    down = (torch.arange(height) + 0.5 - height / 2).abs() < side / 2
    across = (torch.arange(width) + 0.5 - width / 2).abs() < side / 2
    square: Tensor = down[:, None] & across
    return square.expand(len(truth), -1, -1)
