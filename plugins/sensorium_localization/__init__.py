"""Which part of a picture makes the sound that is heard (Senocak et al. 2018)."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Readers of the published test sets."""
    return {
        "soundnet_flickr": "sensorium_localization.layouts:SoundNetFlickr",
        "vgg_ss": "sensorium_localization.layouts:VGGSoundSource",
    }


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `localization`."""
    return {"localization": "sensorium_localization.task:Localization"}
