"""Which part of a picture is seen, and how it is brought to one size.

Shapes: C channels, h and w rows and columns of a picture, H and W those that are wanted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LONGEST = 8
"""Longer side over the shorter above which a picture is cropped before it is resized: whole, it would fill memory."""


class Cropping:
    """Crops and resizes, in the order that the options of a picture ask for.

    Args:
        config: Options `central`, `crop_last`, `crop_scale`, `interpolation` and `stretch` of the modality `image`.
        size: H and W.
    """

    def __init__(self, config: Any, size: tuple[int, int]) -> None:
        self.config, self.size = config, size

    def __call__(self, picture: Tensor, draws: Sequence[float] | None) -> Tensor:
        """Returns (C, H, W) of (C, h, w); `draws`, four numbers from 0 to 1, say which part a random crop keeps."""
        height, width = picture.shape[1:]
        if self._last(height, width, draws):
            rows, columns, top, left = self._whole(height, width)
            return self._resized(picture, (rows, columns))[:, top : top + self.size[0], left : left + self.size[1]]
        top, left, rows, columns = self._part(height, width, draws)
        return self._resized(picture[:, top : top + rows, left : left + columns], self.size)

    def matrix(self, height: int, width: int, draws: Sequence[float] | None) -> Tensor:
        """Returns (2, 3), by which a place x, y, 1 of a picture of h and w is one of the result."""
        if self._last(height, width, draws):
            rows, columns, top, left = self._whole(height, width)
            down, across = rows / height, columns / width
            return torch.tensor([[across, 0, -left], [0, down, -top]], dtype=torch.float64)
        top, left, rows, columns = self._part(height, width, draws)
        down, across = self.size[0] / rows, self.size[1] / columns
        return torch.tensor([[across, 0, -left * across], [0, down, -top * down]], dtype=torch.float64)

    def steps(self) -> list[dict[str, Any]]:
        """Returns the same in words and numbers that JSON holds, without randomness."""
        options, (rows, columns) = self.config, self.size
        how = {"interpolation": options.interpolation, "antialias": True}
        about = "As torch.nn.functional.interpolate does; left out where the size is right."
        if options.crop_last and not options.stretch:
            whole = [round(side / options.central) for side in self.size]
            least = f"The whole picture, its aspect kept, its sides rounded down, as small as covers the size. {about}"
            middle = "The middle: rows and columns before it are half of what is left, rounded."
            return [
                {"step": "resize", "covers": whole, **how, "about": least},
                {"step": "crop", "size": [rows, columns], "about": middle},
            ]
        part = "The whole" if options.stretch else "The largest part of this aspect (columns over rows)"
        crop = {
            "step": "crop",
            **({} if options.stretch else {"aspect": columns / rows}),
            "central": options.central,
            "about": f"{part}, of both sides the share `central`, rounded, in the middle.",
        }
        kept = [] if options.stretch and options.central == 1 else [crop]
        return [*kept, {"step": "resize", "size": [rows, columns], **how, "about": about}]

    def _resized(self, picture: Tensor, size: tuple[int, int]) -> Tensor:
        if tuple(picture.shape[1:]) == size:
            return picture
        return F.interpolate(picture[None], size, mode=self.config.interpolation, antialias=True)[0]

    def _last(self, height: int, width: int, draws: Sequence[float] | None) -> bool:
        """Returns whether a picture is resized before it is cropped."""
        own = self.config.crop_last and not self.config.stretch and not (draws and self.config.crop_scale)
        return own and max(height, width) <= LONGEST * min(height, width)

    def _whole(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Returns rows and columns that the whole picture is resized to, and top and left of the crop from it."""
        rows, columns = (round(side / self.config.central) for side in self.size)
        high, wide = (
            (rows, rows * width // height) if rows * width >= columns * height else (columns * height // width, columns)
        )
        return high, wide, round((high - self.size[0]) / 2), round((wide - self.size[1]) / 2)

    def _part(self, height: int, width: int, draws: Sequence[float] | None) -> tuple[int, int, int, int]:
        """Returns top, left, rows and columns of the part of the picture that is kept."""
        aspect = self.size[1] / self.size[0]
        h, w = (height, width) if self.config.stretch else (min(height, width / aspect), min(width, height * aspect))
        h, w = h * self.config.central, w * self.config.central
        down = across = 0.5
        if draws is not None and self.config.crop_scale:
            share, stretch, down, across = draws
            area = height * width * (1 - share * (1 - self.config.crop_scale))
            aspect *= (4 / 3) ** (2 * stretch - 1)
            h, w = min(height, math.sqrt(area / aspect)), min(width, math.sqrt(area * aspect))
        rows, columns = max(1, round(h)), max(1, round(w))
        return round((height - rows) * down), round((width - columns) * across), rows, columns
