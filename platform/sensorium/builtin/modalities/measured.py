"""Pictures whose pixels are measurements: how far away things are, and how warm.

They have one channel, scaled over a range that the experiment states in metres or degrees, so that the same number
means the same in each picture.

Shapes: H rows, W columns of what the model sees; h, w those of a file.
"""

from __future__ import annotations

import io
import math
from abc import abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image as Pillow
from torch import Generator, Tensor

from sensorium import Geometry, MediaError, Modality
from sensorium.builtin.modalities import npy
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.source import opened, readable

COUNTS = 65535
"""Largest number in a pixel of 16 bits."""
COPIES = 3
"""Times that all numbers lie in memory while they are read, of 4 bytes."""
ABSOLUTE_ZERO = -273.15
"""In degrees Celsius."""


class Measured(Modality):
    """Pictures of measurements. They are not augmented by themselves, but along with the picture that they follow.

    A file is a grey picture, or an array (h, w) in NumPy's format. Whole numbers are counts of `unit`, as in PNG of
    16 bits; floats are measurements as they are.
    """

    form = "image"
    media_type = "image/png"
    accepts: ClassVar[tuple[str, ...]] = ("image/png", "image/tiff")
    limits = ("max_pixels",)
    reads: ClassVar[type[Image]] = Image

    class Config(Modality.Config):
        """Size, range and unit."""

        size: int | tuple[int, int] = 224
        """Side of a square in pixels, or rows and columns."""

        least: float
        """Smallest measurement that is told apart; below it all are alike."""

        most: float
        """Largest measurement that is told apart; above it all are alike."""

        unit: float
        """What 1 stands for in a file of whole numbers."""

        follows: str | None = None
        """Field of the picture that this one lies over: it is cropped, mirrored and turned as that one is."""

        nearest: bool = False
        """Takes the nearest pixel where it follows a picture, rather than blending the two sides of an edge."""

        max_pixels: int = 100_000_000
        """Pixels in a file's header above which it is refused before it is decoded."""

        def __post_init__(self) -> None:
            if not -math.inf < self.least < self.most < math.inf or not 0 < self.unit < math.inf:
                raise ValueError("least lies below most, and unit above 0.")
            if min((self.size,) if isinstance(self.size, int) else self.size) < 1:
                raise ValueError("size is at least 1 pixel.")

    config: Measured.Config

    def __init__(self, config: Measured.Config) -> None:
        super().__init__(config)
        self.follows = config.follows
        self.shape = self.picture.shape

    @property
    def picture(self) -> Image:
        """What reads and places pictures, within the bounds that hold now."""
        options = self.config
        return self.reads(
            Image.Config(size=options.size, channels=1, nearest=options.nearest, max_pixels=options.max_pixels)
        )

    @abstractmethod
    def share(self, measured: Tensor) -> Tensor:
        """Returns where measurements lie in the range, from 0 to 1; 0 for what is not a number."""

    @abstractmethod
    def measurement(self, share: Tensor) -> Tensor:
        """Returns the measurements at shares of the range."""

    def counted(self, counts: Tensor, bits: int) -> Tensor:
        """Returns the measurements that counts of 8, 16 or more bits stand for."""
        return counts.float() * self.config.unit

    def counts(self, measured: Tensor) -> Tensor:
        """Returns measurements as counts."""
        return measured / self.config.unit

    def decode(self, raw: Any) -> Tensor:
        """Returns where each pixel lies in the range, (1, h, w), float32 from 0 to 1.

        Args:
            raw: A path, URI or bytes of a picture or an array, a Pillow image, or an array or tensor (h, w).

        Raises:
            MediaError: It is not readable, too large, or has several channels.
        """
        name = "the array given"
        if isinstance(raw, (str, Path, bytes, bytearray, memoryview)):
            with opened(raw) as (file, name):
                if not npy.is_npy(file):
                    return self._picture(raw)
                with readable(name, "array", "A file of version 1.0 or 2.0 was expected."):
                    raw = npy.read(file, name, self.config.max_pixels, "Make it smaller, or raise max_pixels.")
        elif isinstance(raw, Pillow.Image):
            return self._picture(raw)
        elif not isinstance(raw, (np.ndarray, Tensor)):
            raise MediaError(f"{type(raw).__name__} is not a picture.", "A path, bytes or an array was expected.")
        numbers = raw if isinstance(raw, Tensor) else _tensor(raw, name)
        numbers = numbers[None] if numbers.ndim == 2 else numbers
        if numbers.ndim != 3 or numbers.shape[0] != 1 or numbers.numel() == 0:
            raise MediaError(f"{name} has the shape {tuple(numbers.shape)}.", "An array (h, w) was expected.")
        if numbers.is_floating_point():
            return self.share(numbers.float())
        return self.share(self.counted(numbers, 8 * numbers.element_size()))

    def cost(self, raw: Any) -> int:
        """Returns the bytes of its numbers, by the header."""
        with suppress(Exception), opened(raw) as (file, _):
            if npy.is_npy(file):
                return 4 * COPIES * min(math.prod(npy.header(file)[0]), self.config.max_pixels)
            return 4 * self.picture.cost(raw)
        return 0

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns (1, H, W) from -1 to 1, the middle of the picture."""
        return self.picture.transform(value, None)

    def follow(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns (1, H, W) from -1 to 1, put where the picture is that it follows."""
        return self.picture.follow(value, geometry)

    def put_back(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns what lay over the picture that was seen as it lies over the one that was sent."""
        return self.picture.put_back(value, geometry)

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B, 1, H, W)."""
        return torch.stack(list(values))

    def encode(self, value: Tensor) -> bytes:
        """Returns the measurements (1, H, W) as PNG of 16 bits, which `decode` reads."""
        measured = self.measurement(value.detach().cpu().float()[0] / 2 + 0.5)
        counts = self.counts(measured).round().clamp(0, COUNTS).numpy().astype(np.uint16)
        buffer = io.BytesIO()
        Pillow.fromarray(counts).save(buffer, "PNG")
        return buffer.getvalue()

    def example(self, random: Generator) -> bytes:
        """Returns a PNG of a few large spots."""
        spots = torch.rand(1, 1, 4, 4, generator=random)
        size = self.shape[1] or 1, self.shape[2] or 1
        return self.encode(torch.nn.functional.interpolate(spots, size, mode="bilinear")[0] * 2 - 1)

    def _picture(self, raw: Any) -> Tensor:
        pixels = self.picture.decode(raw)
        if pixels.dtype == torch.uint8:
            return self.share(self.counted(pixels, 8))
        return self.share(self.counted((pixels * COUNTS).round(), 16))


class Counts(Image):
    """Grey pictures alone: a colour is not a count."""

    def check(self, picture: Pillow.Image, name: str) -> None:
        """Refuses a picture in colour.

        Raises:
            MediaError: It is in colour, or has too many pixels.
        """
        if picture.mode[0] not in "1LIF":
            raise MediaError(
                f"{name} is in colour ({picture.mode}).",
                "A grey picture was expected, whose pixels count distance.",
                "Take the file of measurements in place of the coloured one.",
            )
        super().check(picture, name)


class Depth(Measured):
    """How far away things are, in metres: near is 1, far and not measured 0."""

    reads = Counts

    class Config(Measured.Config):
        """Range, unit and scale; the defaults are those of rooms, and of PNG that count millimetres."""

        least: float = 0.5
        """Smallest distance that is told apart, in metres."""
        most: float = 10.0
        """Largest distance that is told apart, in metres."""
        unit: float = 0.001
        """Metres that 1 stands for in a file of whole numbers, in which 0 is not measured."""
        scale: Literal["disparity", "log", "linear"] = "disparity"
        """What grows evenly: 1 / distance, as from two cameras, its logarithm, or distance itself."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.least <= 0:
                raise ValueError("least is above 0.")

    config: Depth.Config

    def share(self, measured: Tensor) -> Tensor:
        """Returns 1 at `least` and nearer, 0 at `most` and farther, and where nothing was measured."""
        near, far = (self._scaled(torch.tensor(end)) for end in (self.config.least, self.config.most))
        there = measured > 0
        clamped = measured.where(there, self.config.most).clamp(self.config.least, self.config.most)
        return (self._scaled(clamped) - far) / (near - far)

    def measurement(self, share: Tensor) -> Tensor:
        """Returns metres."""
        near, far = (self._scaled(torch.tensor(end)) for end in (self.config.least, self.config.most))
        value = far + share.clamp(0, 1) * (near - far)
        return {"disparity": torch.reciprocal, "log": torch.exp, "linear": torch.positive}[self.config.scale](value)

    def _scaled(self, metres: Tensor) -> Tensor:
        return {"disparity": torch.reciprocal, "log": torch.log, "linear": torch.positive}[self.config.scale](metres)


class Thermal(Measured):
    """How warm things are, in degrees Celsius. Grey of 8 bits, as cameras show it, stands for the range itself."""

    accepts = ("image/png", "image/tiff", "image/jpeg", "image/bmp")

    class Config(Measured.Config):
        """Range and unit."""

        least: float = 0.0
        """Temperature of black, in degrees Celsius."""
        most: float = 50.0
        """Temperature of white, in degrees Celsius."""
        unit: float = 0.01
        """Kelvin that 1 stands for in a file of 16 bits, whose 0 is absolute zero."""

    config: Thermal.Config

    def counted(self, counts: Tensor, bits: int) -> Tensor:
        """Returns degrees; 8 bits reach from `least` to `most`."""
        if bits == 8:
            return self.measurement(counts.float() / 255)
        return counts.float() * self.config.unit + ABSOLUTE_ZERO

    def counts(self, measured: Tensor) -> Tensor:
        """Returns counts from absolute zero."""
        return (measured - ABSOLUTE_ZERO) / self.config.unit

    def share(self, measured: Tensor) -> Tensor:
        """Returns 0 at `least` and below, 1 at `most` and above."""
        share = (measured - self.config.least) / (self.config.most - self.config.least)
        return share.nan_to_num(0).clamp(0, 1)

    def measurement(self, share: Tensor) -> Tensor:
        """Returns degrees."""
        return self.config.least + share * (self.config.most - self.config.least)


def _tensor(array: np.ndarray[Any, Any], name: str) -> Tensor:
    """Returns an array of numbers as a tensor of its own, in the order of this machine."""
    if array.dtype.kind not in "buif":
        raise MediaError(f"{name} holds {array.dtype}.", "Numbers were expected.")
    native = array.astype(array.dtype.newbyteorder("="), order="C")
    return torch.from_numpy(native if native.dtype != np.longdouble else native.astype(np.float64))
