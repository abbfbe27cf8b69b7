"""Pictures from sentences, by a generator against a discriminator that reads (Reed et al. 2016)."""

from sensorium import hookimpl


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `text2image`."""
    return {"text2image": "sensorium_text2image.task:TextToImage"}


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """The reader of birds and flowers with ten captions each."""
    return {"described_photographs": "sensorium_text2image.photographs:DescribedPhotographs"}
