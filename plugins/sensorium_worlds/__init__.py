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
        "which_is_heard": "sensorium_worlds.which_is_heard:WhichIsHeard",
        "spoken_sequences": "sensorium_worlds.spoken_sequences:SpokenSequences",
        "moving_lips": "sensorium_worlds.moving_lips:MovingLips",
        "people": "sensorium_worlds.people:People",
        "spoken_names": "sensorium_worlds.spoken_names:SpokenNames",
        "loud_and_quiet": "sensorium_worlds.loud_and_quiet:LoudAndQuiet",
    }


@hookimpl
def sensorium_metrics() -> dict[str, str]:
    """Whether sentences tell what is in a scene or what is said, and which of two kinds of picture are drawn."""
    return {
        "scene_words": "sensorium_worlds.scores:SceneWords",
        "spoken_words": "sensorium_worlds.heard:SpokenWords",
        "modes": "sensorium_worlds.modes:Modes",
    }
