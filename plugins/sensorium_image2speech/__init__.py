"""A picture is told aloud, by units of speech that no text names (Hsu et al. 2021)."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Readers of pictures with spoken captions, and of somebody who reads aloud."""
    return {
        "flickr8k_audio": "sensorium_image2speech.layouts:Flickr8kAudio",
        "ljspeech": "sensorium_image2speech.layouts:LJSpeech",
        "spoken_coco": "sensorium_image2speech.layouts:SpokenCOCO",
    }


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """An encoder of waveforms by their spectrograms."""
    return {"heard": "sensorium_image2speech.spectrum:Heard"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `image2speech`."""
    return {"image2speech": "sensorium_image2speech.task:Image2Speech"}
