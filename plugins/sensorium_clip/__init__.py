"""CLIP: two modalities in one space, where a picture and its caption lie close (Radford et al. 2021)."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `clip`."""
    return {"clip": "sensorium_clip.task:Clip"}
