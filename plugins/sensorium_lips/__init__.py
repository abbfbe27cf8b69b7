"""What lips do when somebody speaks, in a film of the target (Suwajanakorn et al. 2017)."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Readers of films of people who speak, with landmarks."""
    return {"grid_faces": "sensorium_lips.layouts:GridFaces", "lrs_faces": "sensorium_lips.layouts:LRSFaces"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `lips`."""
    return {"lips": "sensorium_lips.task:Lips"}
