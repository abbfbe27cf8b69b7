"""What localization shows: the map of a sound over a picture, by a scale of colours, and the box around it.

Shapes: B samples, h rows and w columns of a picture.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import torch
from PIL import Image as Pillow
from torch import Tensor

from sensorium import Geometry, Padded, Rows
from sensorium.builtin.modalities.image import Image
from sensorium.ops import heat
from sensorium.ops.plots import figure, png

SHOWN = 6
LEAST = 224
"""Width of the smallest picture that is answered with, in pixels: one below it is enlarged."""


class Located(Image):
    """A picture with the map of what is heard over it, and below it the scale of the map's colours, cosines."""

    class Config(Image.Config):
        """Those of the picture."""

    def put_back(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns it as it lies over the picture that was sent; what was not seen of that is grey."""
        return super().put_back(value, geometry) * geometry.visible()

    def encode(self, value: Tensor) -> bytes:
        """Returns picture and scale as PNG."""
        with Pillow.open(io.BytesIO(super().encode(value))) as opened:
            times = max(1, -(-LEAST // opened.width))
            picture = opened.resize((times * opened.width, times * opened.height), Pillow.Resampling.NEAREST)
        drawn = Pillow.new("RGB", (picture.width, picture.height + heat.HEIGHT), "white")
        drawn.paste(picture, (0, 0))
        drawn.paste(heat.scale(picture.width, "-1", "1"), (0, picture.height))
        buffer = io.BytesIO()
        drawn.save(buffer, "PNG")
        return buffer.getvalue()


def overlaid(pictures: Tensor, maps: Tensor, boxes: Padded) -> Tensor:
    """Returns pictures half covered by their maps, with white boxes, (B, 3, h, w) from -1 to 1.

    Args:
        pictures: (B, C, h, w) from 0 to 1, grey or RGB.
        maps: (B, h, w) from -1 to 1.
        boxes: (B, N, 4) with the mask (B, N).
    """
    shown = pictures.expand(-1, 3, -1, -1) + heat.coloured((maps + 1) / 2) - 1
    for picture, of_picture, real in zip(shown, boxes.data, boxes.mask, strict=True):
        for left, top, right, bottom in of_picture[real].round().long().tolist():
            picture[:, top:bottom, [left, right - 1]] = 1.0
            picture[:, [top, bottom - 1], left:right] = 1.0
    return shown


def sheet_of(rows: Rows, shown: Callable[[int], bytes]) -> bytes:
    """Returns a PNG of a few pictures with the outline of what sounds, and below each where it is found, with a scale.

    Args:
        rows: `heat` (N, H, W), `truth` (N, H, W) where it is known, and `chosen` (N,) where things are told apart.
        shown: Place of a sample -> its picture as PNG.
    """
    from matplotlib.colors import LinearSegmentedColormap

    count = len(rows["heat"])
    places = torch.linspace(0, count - 1, min(SHOWN, count)).long().tolist()
    drawn = figure(1.7 * len(places) + 0.8, 3.4)
    grid = drawn.subplots(2, len(places), squeeze=False)
    colours = LinearSegmentedColormap.from_list("heat", heat.SCALE)
    for column, place in enumerate(places):
        with Pillow.open(io.BytesIO(shown(place))) as opened:
            picture = opened.convert("RGB")
        for axes in grid[:, column]:
            axes.imshow(picture, interpolation="nearest")
            axes.axis("off")
        extent = (-0.5, picture.width - 0.5, picture.height - 0.5, -0.5)
        scale = grid[1, column].imshow(
            rows["heat"][place].numpy(), cmap=colours, vmin=-1, vmax=1, alpha=0.5, extent=extent
        )
        if "truth" in rows and rows["truth"][place].any():
            outline = rows["truth"][place].flip(0).numpy()  # the first row lies at the top of the extent
            grid[0, column].contour(outline, [0.5], colors="white", linewidths=1.5, extent=extent)
        if "chosen" in rows:
            right = int(rows["chosen"][place]) == 0
            grid[1, column].set_title("right" if right else "wrong", fontsize=8, color="green" if right else "red")
    drawn.colorbar(scale, ax=grid[1].tolist(), label="cosine")
    return png(drawn)
