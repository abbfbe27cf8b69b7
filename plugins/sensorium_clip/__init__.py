"""CLIP: two modalities in one space, where a picture and its caption lie close (Radford et al. 2021)."""

from sensorium import hookimpl


@hookimpl
def sensorium_modalities() -> dict[str, str]:
    """Text as the byte pairs that published weights read."""
    return {"clip_text": "sensorium_clip.byte_pairs:BytePairs"}


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """The towers of published weights."""
    return {"clip_image": "sensorium_clip.encoders:ClipImage", "clip_text": "sensorium_clip.encoders:ClipText"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `clip`."""
    return {"clip": "sensorium_clip.task:Clip"}
