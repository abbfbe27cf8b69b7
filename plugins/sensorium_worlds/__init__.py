"""Worlds: data made from real samples, whose truth is known to the last pixel."""

from sensorium import hookimpl


@hookimpl
def sensorium_datasets() -> dict[str, str]:
    """Coloured digits on a canvas, with words about them."""
    return {"digits_canvas": "sensorium_worlds.canvas:DigitsCanvas"}
