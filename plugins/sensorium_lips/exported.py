"""What of `lips` works without Sensorium: how the mouth moves."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from sensorium import Batch, Exported, Plain
from sensorium.builtin.encoders.sequences import whole


def mouths(task: Any) -> Exported:
    """Returns the way from a sound to mouths, of a task `lips`."""
    audio = task.config.audio

    def moved(batch: Batch) -> dict[str, Tensor]:
        heard = (task.hearing(batch[audio].data[:, 0]) - task.heard_mean) / task.heard_deviation
        return {"mouths": task.shapes.coordinates(task.head(whole(task.lstm, heard)))}

    made = Plain(
        f"x and y, in turn, of the mouth's 20 landmarks, a step for each {task.hearing.hop} samples. The mouth heard at"
        f" a step stands {task.config.delay} steps later, and at the last step for what comes after it. 0 lies in the"
        " middle between the eyes, x goes from the left one to the right one, and 1 is how far they lie apart.",
        ("batch", "steps", "coordinates"),
    )
    return Exported("How lips move when somebody speaks.", moved, {audio: task.inputs[audio]}, {"mouths": made})
