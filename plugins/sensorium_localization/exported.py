"""What of `localization` works without Sensorium: the map of a sound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from sensorium import Batch, Exported, Plain


def heat(task: Any, seen: Callable[[Batch], Tensor]) -> Exported:
    """Returns the way from a picture and a sound to the map, of a task `localization`.

    Args:
        task: The task.
        seen: Batch -> maps (B, h, w).
    """
    made = Plain(
        "Cosine of the sound and each pixel of the picture as the model sees it, -1 to 1. The box lies around the"
        f" highest place and what hangs together with it, by places of at least {float(task.threshold):.6g}.",
        ("batch", "rows", "columns"),
    )
    about = "Where in a picture a sound comes from."
    return Exported(about, lambda batch: {"heat": seen(batch)}, task.inputs, {"heat": made})
