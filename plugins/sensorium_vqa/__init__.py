"""Visual question answering: a picture and a question in, an answer out."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `vqa`."""
    return {"vqa": "sensorium_vqa.task:VQA"}
