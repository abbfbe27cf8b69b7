"""DALL-E 2: from a sentence to CLIP's embedding of a picture, and from there to pictures (Ramesh et al. 2022)."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `dalle2`."""
    return {"dalle2": "sensorium_dalle2.task:Dalle2"}
