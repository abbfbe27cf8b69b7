"""What image2speech shows: pictures, and the speech that is made of them, with the judge's verdict.

Shapes: N samples, S samples of a sound, M mel bands, T frames.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch

from sensorium import Rows
from sensorium.ops.plots import figure, png

SHOWN = 6


def sheet_of(rows: Rows, shown: Callable[[int], bytes], rate: int) -> bytes:
    """Returns a PNG of a few pictures, and below each the wave and the spectrogram of what is said of it.

    Args:
        rows: `wave` (N, S), `mel` (N, M, T), and, where there is a judge, `heard`, what it
            hears, and `understood.all` (N,), whether that is right.
        shown: Place of a sample -> its picture as PNG.
        rate: Samples a second.
    """
    from PIL import Image

    count = len(rows["wave"])
    places = torch.linspace(0, count - 1, min(SHOWN, count)).long().tolist()
    drawn = figure(2.0 * len(places), 4.6)
    grid = drawn.subplots(3, len(places), squeeze=False, height_ratios=(1.6, 0.7, 1.2))
    for (top, middle, bottom), place in zip(grid.T, places, strict=True):
        with Image.open(io.BytesIO(shown(place))) as opened:
            top.imshow(opened.convert("RGB"), interpolation="nearest")
        top.axis("off")
        sound, mel = rows["wave"][place], rows["mel"][place]
        seconds = len(sound) / rate
        middle.plot(torch.arange(len(sound)) / rate, sound, linewidth=0.4, color="#4358d8")
        middle.set(xlim=(0, seconds), ylim=(-1, 1), xticks=[], yticks=[])
        bottom.imshow(mel.numpy(), origin="lower", aspect="auto", extent=(0, seconds, 0, len(mel)))
        bottom.set(yticks=[], xlabel="seconds")
        if "understood.all" in rows:
            right = bool(rows["understood.all"][place])
            top.set_title(f"heard: {rows['heard'][place]}", fontsize=10, color="green" if right else "red")
    grid[0, 0].text(-0.25, 0.5, "a picture", rotation=90, va="center", transform=grid[0, 0].transAxes)
    grid[1, 0].set_ylabel("its speech", fontsize=9)
    grid[2, 0].set_ylabel("pitch (mel)", fontsize=9)
    return png(drawn)
