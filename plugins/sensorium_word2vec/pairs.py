"""Which words stand around which.

Shapes: B sentences, T tokens.
"""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from sensorium import Padded


def running(text: Padded, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Returns ids (B, T) with those that are kept (B, T) at the front, in their order, and which these are."""
    order = (~kept).long().argsort(dim=1, stable=True)
    return text.data.gather(1, order), kept.gather(1, order)


def around(kept: Tensor, window: int) -> Iterator[tuple[slice, slice, Tensor]]:
    """Yields, for each distance to the right and to the left, where words stand and where their neighbours.

    Args:
        kept: Which tokens are words, (B, T).
        window: Largest distance.

    Yields:
        Places of the words, places of their neighbours, and for which both are words (B, T - distance).
    """
    for distance in range(1, min(window, kept.shape[1] - 1) + 1):
        left, right = slice(None, -distance), slice(distance, None)
        both = kept[:, left] & kept[:, right]
        yield left, right, both
        yield right, left, both
