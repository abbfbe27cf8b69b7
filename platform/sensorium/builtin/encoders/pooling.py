"""Pooling and masks in which padding changes nothing.

Shapes: B samples, T tokens or frames, D channels.
"""

from __future__ import annotations

from torch import Tensor


def mean_pool(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the mean (B, D) of the real ones among tokens (B, T, D)."""
    if mask is None:
        return tokens.mean(1)
    weight = mask[:, :, None].to(tokens.dtype)
    return (tokens * weight).sum(1) / weight.sum(1)


def max_pool(tokens: Tensor, mask: Tensor | None) -> Tensor:
    """Returns the maximum (B, D) of each channel over the real ones among tokens (B, T, D)."""
    if mask is not None:
        tokens = tokens.masked_fill(~mask[:, :, None], float("-inf"))
    return tokens.amax(1)


def grid_mask(mask: Tensor | None, rows: int) -> Tensor | None:
    """Returns the mask (B, rows * W) of a grid, row by row, from the mask (B, W) of its columns."""
    return None if mask is None else mask[:, None].expand(-1, rows, -1).flatten(1)
