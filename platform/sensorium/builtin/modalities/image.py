"""Pictures: from files, bytes or arrays to normalised tensors, and back to PNG.

Shapes: C channels, H rows, W columns.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import torch
from PIL import ExifTags, ImageOps, UnidentifiedImageError
from PIL import Image as Pillow
from torch import Generator, Tensor
from torch.nn import functional as F

from sensorium import Geometry, MediaError, Modality
from sensorium.builtin.modalities.changes import adjust, affine, affine_matrix
from sensorium.builtin.modalities.cropping import Cropping
from sensorium.builtin.modalities.source import opened, readable

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
"""Formats that are read; others of Pillow's start programs (EPS) or are rare."""

COPIES = 3
"""Times that all pixels lie in memory while they are decoded."""

EXPECTED = f"A whole {', '.join(FORMATS[:-1])} or {FORMATS[-1]} was expected."


class Image(Modality):
    """Pictures of one size, grey or RGB, normalised by a mean and a deviation."""

    form = "image"
    media_type = "image/png"
    accepts = (
        "image/png",
        "image/jpeg",
        "image/webp",
        "image/gif",
        "image/bmp",
        "image/tiff",
        "image/x-portable-pixmap",
    )
    limits = ("max_pixels",)

    class Config(Modality.Config):
        """Size, normalisation and augmentation. Augmentation is off unless asked for."""

        size: int | tuple[int, int] = 224
        """Side of a square in pixels, or rows and columns."""

        channels: Literal[1, 3] = 3
        """1 for grey, 3 for RGB; pictures are converted to it."""

        mean: list[float] = field(default_factory=lambda: [0.5])
        """Subtracted from pixels in [0, 1]: one number, or one for each channel."""

        std: list[float] = field(default_factory=lambda: [0.5])
        """What pixels are divided by after the mean is subtracted: one number, or one for each channel."""

        interpolation: Literal["bicubic", "bilinear"] = "bicubic"
        """How pixels are blended where the size changes."""

        stretch: bool = False
        """Brings the whole picture to the size, in place of the largest part of it with that aspect."""

        central: float = 1.0
        """Share of both sides of that part which is kept, in its middle: 0.875 where pictures are cut to 224 of 256."""

        crop_scale: float = 0.0
        """Smallest share of the area that a random crop of a random aspect keeps, in (0, 1]; 0 crops the centre."""

        crop_last: bool = False
        """Resizes the whole picture and then crops the centre at a whole pixel, as open_clip and transformers do;
        otherwise the centre is cropped and then resized, which is less work. Without effect on random crops."""

        flip: float = 0.0
        """Probability of mirroring left and right."""

        rotate: float = 0.0
        """Largest rotation either way in degrees."""

        shift: float = 0.0
        """Largest move along each axis as a share of the side."""

        zoom: float = 0.0
        """Largest change of scale as a share: 0.1 draws from 0.9 to 1.1."""

        jitter: float = 0.0
        """Largest change of brightness, contrast and saturation as a share."""

        follows: str | None = None
        """Field of a picture that this one lies over, such as a depth map or a mask: it is cropped, mirrored and
        turned as that one is, in place of augmentation of its own."""

        nearest: bool = False
        """Takes the nearest pixel where it follows another picture, rather than blending several: for masks."""

        max_pixels: int = 100_000_000
        """Pixels in a file's header above which it is refused before it is decoded."""

        def __post_init__(self) -> None:
            for name in ("mean", "std"):
                if len(getattr(self, name)) not in (1, self.channels):
                    raise ValueError(f"{name} holds one number, or one for each of the {self.channels} channels.")
            if min(self.std) <= 0:
                raise ValueError("std is above 0.")
            if min(_sides(self.size)) < 1:
                raise ValueError("size is at least 1 pixel.")
            for name in ("crop_scale", "flip", "shift", "zoom", "jitter"):
                if not 0 <= getattr(self, name) <= 1:
                    raise ValueError(f"{name} lies between 0 and 1.")
            if not 0 < self.central <= 1:
                raise ValueError("central lies above 0, and at 1 at most.")
            if self.zoom == 1:
                raise ValueError("zoom is below 1.")

    config: Image.Config

    def __init__(self, config: Image.Config) -> None:
        super().__init__(config)
        self.mode = "L" if config.channels == 1 else "RGB"
        self.size = _sides(config.size)
        self.cropping = Cropping(config, self.size)
        self.shape = (config.channels, *self.size)
        self.follows = config.follows
        self.mean = torch.tensor(config.mean).view(-1, 1, 1)
        self.std = torch.tensor(config.std).view(-1, 1, 1)

    @property
    def symmetric(self) -> bool:
        """Whether pixels lie between -1 and 1, as networks draw them."""
        return {*self.config.mean, *self.config.std} == {0.5}

    def decode(self, raw: Any) -> Tensor:
        """Returns the pixels (C, h, w): uint8, or float32 in [0, 1].

        Args:
            raw: A path, URI or bytes of a picture, a Pillow image, an array (h, w) or (h, w, C), or
                a tensor (h, w) or (C, h, w). Arrays hold uint8, uint16, or floats in [0, 1].

        Raises:
            MediaError: It is not a readable picture, or is larger than `max_pixels`.
        """
        if isinstance(raw, Tensor):
            return self._pixels(raw, "the tensor given")
        if isinstance(raw, np.ndarray):
            return self._array(raw, "the array given")
        if isinstance(raw, Pillow.Image):
            with readable("the picture given", "picture", EXPECTED):
                self.check(raw, "the picture given")
                return self._picture(raw, "the picture given")
        if not isinstance(raw, (str, Path, bytes, bytearray, memoryview)):
            raise MediaError(f"{type(raw).__name__} is not a picture.", "A path, bytes, array or tensor was expected.")
        with opened(raw) as (file, name), readable(name, "picture", EXPECTED), _open(file) as picture:
            self.check(picture, name)
            # A JPEG is decoded at the smallest of 1/1, 1/2, 1/4, 1/8 that leaves twice the pixels needed.
            side = math.ceil(2 * max(self.size) / math.sqrt(self.config.crop_scale or 1))
            full = picture.size
            picture.draft(self.mode, (side, side))
            pixels = self._picture(picture, name)
            if picture.size != full:  # places on the picture that was given are counted in its own pixels
                turned = (pixels.shape[1] > pixels.shape[2]) != (picture.height > picture.width)
                pixels.full_size = full if turned else full[::-1]  # type: ignore[attr-defined]
            return pixels

    def cost(self, raw: Any) -> int:
        """Returns the bytes of its pixels, by the header: as they are decoded, converted and copied."""
        with suppress(Exception), opened(raw) as (file, _), _open(file) as picture:
            return COPIES * picture.width * picture.height * len(picture.getbands())
        return 0

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns the picture as (C, H, W): cropped, resized, augmented if `random`, normalised."""
        draws = None if random is None else torch.rand(12, generator=random).tolist()
        picture = self.cropping(value, draws and draws[:4])
        picture = picture.float() / 255 if picture.dtype == torch.uint8 else picture.clamp(0, 1)
        if draws is not None:
            picture = self._augment(picture, draws[4:])
        return (picture - self.mean) / self.std

    def geometry(self, value: Tensor, random: Generator | None) -> Geometry:
        """Returns where the pixels of a picture, as `decode` returned it, come to lie."""
        draws = None if random is None else torch.rand(12, generator=random).tolist()
        options, (h, w), columns = self.config, value.shape[1:], self.size[1]
        given: tuple[int, int] = getattr(value, "full_size", (h, w))
        reduced = torch.tensor([[w / given[1], 0, 0], [0, h / given[0], 0]], dtype=torch.float64)
        crop = self.cropping.matrix(h, w, draws and draws[:4])
        placed = Geometry.identity(given).then(reduced, (h, w)).then(crop, self.size)
        if draws is None:
            return placed
        if draws[4] < self.config.flip:
            placed = placed.then(torch.tensor([[-1, 0, columns], [0, 1, 0]], dtype=torch.float64), self.size)
        if options.rotate or options.shift or options.zoom:
            angle, zoom, below, beside = (2 * draw - 1 for draw in draws[5:9])
            move = (options.shift * below, options.shift * beside)
            placed = placed.then(
                affine_matrix(self.size, options.rotate * angle, 1 + options.zoom * zoom, move), self.size
            )
        return placed

    def follow(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns the picture as (C, H, W), put where the one is that it follows; normalised."""
        pixels = value.float() / 255 if value.dtype == torch.uint8 else value
        placed = geometry.warp(pixels, self.config.nearest)
        if placed.shape[1:] != self.size:
            mode = "nearest" if self.config.nearest else "bilinear"
            placed = F.interpolate(placed[None], self.size, mode=mode)[0]
        return (placed - self.mean) / self.std

    def put_back(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns a picture (C, H, W) that was drawn over what was seen as it lies over the one that was sent."""
        return geometry.inverse().warp(value.cpu(), self.config.nearest)

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B, C, H, W)."""
        return torch.stack(list(values))

    def encode(self, value: Tensor) -> bytes:
        """Returns a normalised picture (C, H, W) as PNG; what lies outside the range is clipped."""
        pixels = (value.detach().cpu().float() * self.std + self.mean).clamp(0, 1).mul(255).round().byte()
        buffer = io.BytesIO()
        Pillow.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy()).save(buffer, "PNG")
        return buffer.getvalue()

    def seen(self, raw: Any) -> bytes:
        """Returns what the model sees of a raw value as PNG, without augmentation."""
        return self.encode(self.transform(self.decode(raw), None))

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from a file to numbers; those of what is drawn over it are in the docstrings."""
        if self.follows is not None:
            return super().preprocessing()
        return [
            {
                "step": "decode",
                "reads": list(self.accepts),
                "mode": self.mode,
                "about": "Turned as EXIF says, what is transparent over white; grey by the weights of ITU-R BT.601.",
            },
            *self.cropping.steps(),
            {"step": "scale", "factor": 1 / 255, "about": "Pixels to float32 from 0 to 1."},
            {"step": "normalise", "mean": self.config.mean, "std": self.config.std, "about": "(x - mean) / std."},
        ]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from numbers to a PNG; on the picture that was sent where it lies over one."""
        options = self.config
        placed = super().postprocessing()[:1] if self.follows is not None else []
        return [
            *placed,
            {
                "step": "denormalise",
                "mean": options.mean,
                "std": options.std,
                "about": "x * std + mean, cut to [0, 1].",
            },
            {"step": "scale", "factor": 255, "about": "Rounded, to uint8."},
            {"step": "encode", "mode": self.mode, "as": self.media_type},
        ]

    def example(self, random: Generator) -> bytes:
        """Returns a PNG of a few large spots of random colour."""
        spots = torch.rand(1, self.config.channels, 4, 4, generator=random)
        picture = F.interpolate(spots, self.size, mode="bilinear")[0]
        return self.encode((picture - self.mean) / self.std)

    def check(self, picture: Pillow.Image, name: str) -> None:
        """Refuses a picture by its header, before its pixels are decoded.

        Raises:
            MediaError: It has too many pixels.
        """
        width, height = picture.size
        if width * height > self.config.max_pixels:
            raise MediaError(
                f"{name} has {width} x {height} pixels.",
                f"At most {self.config.max_pixels} were expected.",
                "Make it smaller, or raise max_pixels.",
            )

    def _picture(self, picture: Pillow.Image, name: str) -> Tensor:
        if picture.getexif().get(ExifTags.Base.Orientation, 1) != 1:
            picture = ImageOps.exif_transpose(picture)
        if picture.mode == "F" or picture.mode.startswith("I"):
            return self._array(np.asarray(picture), name)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            picture = Pillow.alpha_composite(Pillow.new("RGBA", picture.size, "white"), picture)
        if picture.mode != self.mode:
            picture = picture.convert(self.mode)
        return self._array(np.asarray(picture), name)

    def _array(self, array: np.ndarray[Any, Any], name: str) -> Tensor:
        if array.dtype.kind not in "buif":
            raise MediaError(f"{name} holds {array.dtype}.", "Numbers were expected.")
        native = array.astype(array.dtype.newbyteorder("="), order="C")  # a copy, which may be written to
        tensor = torch.from_numpy(native)
        return self._pixels(tensor.permute(2, 0, 1) if tensor.ndim == 3 else tensor, name)

    def _pixels(self, pixels: Tensor, name: str) -> Tensor:
        pixels = pixels[None] if pixels.ndim == 2 else pixels
        if pixels.ndim != 3 or pixels.shape[0] not in (1, 3) or pixels.numel() == 0:
            raise MediaError(
                f"{name} has the shape {tuple(pixels.shape)}.",
                "One picture with 1 or 3 channels was expected: an array (h, w) or (h, w, C), a tensor (C, h, w).",
            )
        if pixels.dtype == torch.uint16:
            pixels = pixels.float() / 65535
        elif pixels.is_floating_point():
            pixels = pixels.float()
            low, high = pixels.aminmax()
            if not (low >= 0 and high <= 1):  # also when one is not a number
                raise MediaError(
                    f"{name} has pixels from {low:.4g} to {high:.4g}.",
                    "Floats in [0, 1] were expected.",
                    "Divide by the largest value that is possible, or give uint8.",
                )
        elif pixels.dtype != torch.uint8:
            raise MediaError(f"{name} has pixels of {pixels.dtype}.", "uint8, uint16 or floats were expected.")
        if pixels.shape[0] == self.config.channels:
            return pixels
        if self.config.channels == 3:
            return pixels.expand(3, -1, -1)
        scale = 255 if pixels.dtype == torch.uint8 else 1
        grey: Tensor = torch.tensordot(torch.tensor(LUMA) / scale, pixels.float(), 1)
        return grey[None].clamp(max=1)

    def _augment(self, picture: Tensor, draws: Sequence[float]) -> Tensor:
        options, mirror = self.config, draws[0]
        angle, zoom, down, across, brightness, contrast, saturation = (2 * draw - 1 for draw in draws[1:])
        if mirror < options.flip:
            picture = picture.flip(2)
        if options.rotate or options.shift or options.zoom:
            move = (options.shift * down, options.shift * across)
            picture = affine(picture, options.rotate * angle, 1 + options.zoom * zoom, move)
        if options.jitter:
            picture = adjust(picture, *(1 + options.jitter * draw for draw in (brightness, contrast, saturation)))
        return picture


def _sides(size: int | tuple[int, int]) -> tuple[int, int]:
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def _open(file: BinaryIO) -> Pillow.Image:
    try:
        return Pillow.open(file, formats=FORMATS)
    except UnidentifiedImageError as cause:  # whose message is the address of `file`
        raise ValueError("unknown format") from cause
