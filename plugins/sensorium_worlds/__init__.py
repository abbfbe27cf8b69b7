"""Worlds: data made from real samples, whose truth is known to the last pixel."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Digits drawn, spoken, mouthed, moved and put into words, two or three at a time or alone; people; dishes."""
    return {
        "digits_canvas": "sensorium_worlds.canvas:DigitsCanvas",
        "digits_av": "sensorium_worlds.av:DigitsAV",
        "digits_av_mixtures": "sensorium_worlds.mixtures:DigitsAVMixtures",
        "kitchen": "sensorium_worlds.kitchen:Kitchen",
        "digits_many": "sensorium_worlds.many:DigitsMany",
        "digits_moving": "sensorium_worlds.moving:DigitsMoving",
        "digits_either": "sensorium_worlds.either:DigitsEither",
        "digits_sounding": "sensorium_worlds.sounding:DigitsSounding",
        "digits_spoken": "sensorium_worlds.spoken:DigitsSpoken",
        "digits_talking": "sensorium_worlds.talking:DigitsTalking",
        "people": "sensorium_worlds.people:People",
        "digits_told": "sensorium_worlds.told:DigitsTold",
        "digits_aloud": "sensorium_worlds.aloud:DigitsAloud",
    }


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """Whether sentences tell what is in a scene or what is said, and which of two kinds of picture are drawn."""
    return {
        "scene_words": "sensorium_worlds.scores:SceneWords",
        "spoken_words": "sensorium_worlds.heard:SpokenWords",
        "modes": "sensorium_worlds.modes:Modes",
    }
