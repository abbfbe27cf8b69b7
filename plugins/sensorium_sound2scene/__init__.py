"""Sound2Scene: a sound becomes the embedding of a picture, of which a picture is drawn (Sung-Bin et al. 2023)."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Readers of the videos that the authors learnt from."""
    return {"vggsound": "sensorium_sound2scene.layouts:VGGSound", "vegas": "sensorium_sound2scene.layouts:VEGAS"}


@hookimpl
def sensorium_losses() -> dict[str, str]:
    """InfoNCE over distances."""
    return {"distance_infonce": "sensorium_sound2scene.loss:DistanceInfoNCE"}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """The task `sound2scene`, and what it builds on: `simclr` sees without labels, `variations` draws what was seen."""
    return {
        "simclr": "sensorium_sound2scene.simclr:SimCLR",
        "sound2scene": "sensorium_sound2scene.task:Sound2Scene",
        "variations": "sensorium_sound2scene.variations:Variations",
    }
