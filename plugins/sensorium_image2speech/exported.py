"""What of `image2speech` works without Sensorium: a picture told in units.

How long each of them lasts, and so the length of the sound, follows from what the voice says, which no graph can hold.
"""

from __future__ import annotations

from typing import Any

from sensorium import Exported


def units(task: Any) -> Exported:
    """Returns the way from a picture to units, of a task `image2speech`."""
    about, image = "The units of speech that tell a picture.", task.config.image
    return Exported(about, lambda batch: {"units": task.say(batch)}, {image: task.image}, {"units": task.units})
