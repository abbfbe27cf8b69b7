"""A face from a voice (Oh et al. 2019)."""

from sensorium import hookimpl


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """The network that hears who speaks."""
    return {"voice": "sensorium_speech2face.voice:VoiceEncoder"}


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Readers of talking faces."""
    return {
        "avspeech": "sensorium_speech2face.layouts:AVSpeech",
        "voxceleb": "sensorium_speech2face.layouts:VoxCeleb",
        "talking_faces": "sensorium_speech2face.layouts:TalkingFaces",
    }


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `speech2face`."""
    return {"speech2face": "sensorium_speech2face.task:Speech2Face"}
