"""Recognition: what a picture or a sound shows, as classes and as tags."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `recognition`."""
    return {"recognition": "sensorium_recognition.task:Recognition"}
