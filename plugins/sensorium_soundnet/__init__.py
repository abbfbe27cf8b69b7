"""SoundNet: a network for sound that learns from what pictures show, without labels (Aytar et al. 2016)."""

from sensorium import hookimpl


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """The network on raw waveforms."""
    return {"soundnet": "sensorium_soundnet.network:SoundNet"}


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """The reader of the paper's data."""
    return {"flickr_sounds": "sensorium_soundnet.flickr:FlickrSounds"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `soundnet`."""
    return {"soundnet": "sensorium_soundnet.task:Distilled"}
