"""Which of two kinds of picture are drawn: red ones, blue ones, or something between.

Shapes: N samples of a split, H rows, W columns.
"""

from __future__ import annotations

import torch
from torch import Tensor

from sensorium import Metric, Rows, UserError

PURE = 0.25
"""Least share of red over blue, of their sum, at which a picture counts as red; in real ones it is about 0.6."""


class Modes(Metric):
    """Shares of drawn pictures that are red, blue, and neither.

    Rows: `drawn` (N, 3, H, W), between -1 and 1.
    """

    needs = ("drawn",)

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `red`, `blue` and `between` (fractions of 1), and `lesser`, the smaller one of the first two.

        Raises:
            UserError: The task draws no pictures in colour.
        """
        drawn = rows.get("drawn")
        if not isinstance(drawn, Tensor) or drawn.ndim != 4 or drawn.shape[1] != 3:
            raise UserError(
                "The metric 'modes' does not find its rows.",
                "It reads `drawn`, pictures in colour.",
                "Choose another metric, or a task that draws.",
            )
        tint = redness(drawn)
        red, blue = (float((each > PURE).double().mean()) for each in (tint, -tint))
        return {"red": red, "blue": blue, "between": 1 - red - blue, "lesser": min(red, blue)}


def redness(pictures: Tensor) -> Tensor:
    """Returns red less blue over their sum, (N,), of pictures between -1 and 1: 1 for pure red, -1 for pure blue."""
    light = ((pictures.double() + 1) / 2).clamp(0, 1).sum((2, 3))  # (N, 3)
    red, _, blue = light.unbind(1)
    return (red - blue) / (red + blue).clamp(min=torch.finfo(light.dtype).eps)
