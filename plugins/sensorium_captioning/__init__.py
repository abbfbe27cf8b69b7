"""Pictures put into words: Show and Tell; Show, Attend and Tell."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The tasks `show_and_tell` and `show_attend_and_tell`."""
    return {
        "show_and_tell": "sensorium_captioning.task:ShowAndTell",
        "show_attend_and_tell": "sensorium_captioning.attend:ShowAttendAndTell",
    }
