"""Which words stand around which.

Shapes: B sentences, T tokens, W tokens of a window on either side.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Padded


def running(text: Padded, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Returns ids (B, T) with those that are kept (B, T) at the front, in their order, and which these are."""
    order = (~kept).long().argsort(dim=1, stable=True)
    return text.data.gather(1, order), kept.gather(1, order)


def around(kept: Tensor, window: int, reach: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Returns the places around each word, nearer than the window, (T, 2W), and which of them count, (B, T, 2W).

    Args:
        kept: Which tokens are words, (B, T).
        window: W, the largest distance.
        reach: The largest distance of each word, (B, T); as far as the window without it.
    """
    length = kept.shape[1]
    steps = torch.cat([torch.arange(-window, 0), torch.arange(1, window + 1)]).to(kept.device)
    places = torch.arange(length, device=kept.device)[:, None] + steps  # (T, 2W)
    within = (places >= 0) & (places < length)
    places = places.clamp(0, length - 1)
    near = kept[:, :, None] & kept[:, places] & within
    return places, near if reach is None else near & (steps.abs() <= reach[..., None])
