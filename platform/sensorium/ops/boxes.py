"""Boxes on maps: what they cover, and which of several a map is highest in.

A box is its left, top, right and bottom edge, in pixels; the first pixel reaches from 0 to 1.

Shapes: B samples, N boxes, H rows and W columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def counts(boxes: Tensor, mask: Tensor, height: int, width: int) -> Tensor:
    """Returns how many boxes hold the middle of each pixel, (B, H, W) float32.

    Args:
        boxes: (B, N, 4).
        mask: Which of them are real, (B, N).
        height: H.
        width: W.
    """
    left, top, right, bottom = boxes[..., None].unbind(2)  # (B, N, 1) each
    across = torch.arange(width, device=boxes.device) + 0.5
    down = torch.arange(height, device=boxes.device) + 0.5
    columns = (left <= across) & (across < right) & mask[..., None]  # (B, N, W)
    rows = (top <= down) & (down < bottom)  # (B, N, H)
    return torch.einsum("bnh,bnw->bhw", rows.float(), columns.float())


def highest(heat: Tensor, boxes: Sequence[Sequence[float]]) -> int:
    """Returns the place, among several boxes, of the one that holds the highest value of a map (H, W).

    A box that holds the middle of no pixel counts by the pixel nearest to its own.
    """
    height, width = heat.shape
    inside = [heat[_between(top, bottom, height), _between(left, right, width)] for left, top, right, bottom in boxes]
    return int(torch.stack([part.max() for part in inside]).argmax())


def around_highest(heat: Tensor, threshold: float) -> list[float] | None:
    """Returns the smallest box around the highest place of a map (H, W) and all that hangs together with it.

    Places hang together by sides and corners, as long as they are at least as high as the threshold. None is returned
    where nothing is.
    """
    high = heat >= threshold
    if not high.any():
        return None
    found = torch.zeros_like(high)
    found[divmod(int(heat.argmax()), heat.shape[1])] = True
    while True:
        wider = F.max_pool2d(found.float()[None], 3, stride=1, padding=1)[0].bool() & high
        if torch.equal(wider, found):
            break
        found = wider
    rows, columns = (found.any(axis).nonzero()[:, 0] for axis in (1, 0))
    return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]


def _between(low: float, high: float, size: int) -> slice:
    """Returns the pixels whose middle lies between two edges, one at least."""
    first = min(max(math.ceil(low - 0.5), 0), size - 1)
    return slice(first, min(max(math.ceil(high - 0.5), first + 1), size))
