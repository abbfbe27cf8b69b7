"""Worlds: data made from real samples, whose truth is known to the last pixel."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Coloured digits on a canvas with words about them; digits seen, heard and mouthed; digits that move; dishes."""
    return {
        "digits_canvas": "sensorium_worlds.canvas:DigitsCanvas",
        "digits_av": "sensorium_worlds.av:DigitsAV",
        "digits_av_mixtures": "sensorium_worlds.mixtures:DigitsAVMixtures",
        "kitchen": "sensorium_worlds.kitchen:Kitchen",
        "digits_many": "sensorium_worlds.many:DigitsMany",
        "digits_moving": "sensorium_worlds.moving:DigitsMoving",
        "digits_either": "sensorium_worlds.either:DigitsEither",
        "digits_sounding": "sensorium_worlds.sounding:DigitsSounding",
        "digits_aloud": "sensorium_worlds.aloud:DigitsAloud",
    }


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """Whether sentences tell what is in a scene, and which of two kinds of picture are drawn."""
    return {"scene_words": "sensorium_worlds.scores:SceneWords", "modes": "sensorium_worlds.modes:Modes"}
