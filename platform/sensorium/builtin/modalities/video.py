"""Video: from files or arrays to normalised frames with the sound in step, and back to MP4.

Shapes: B videos, T frames, C channels, H rows, W columns, S samples of sound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from sensorium import Geometry, MediaError, Modality
from sensorium.builtin.modalities import film
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.source import opened

FILES = (str, Path, bytes, bytearray, memoryview)
"""Types of what names or holds a file."""


@dataclass(frozen=True)
class Footage:
    """One video.

    Attributes:
        frames: (T, C, H, W).
        sound: (1, S), from the beginning of the first frame to the end of the last; S is 0 without sound.
    """

    frames: Tensor
    sound: Tensor


@dataclass(frozen=True)
class Footages:
    """Videos of a batch.

    Attributes:
        data: (B, T, C, H, W), with zeros after the end of each.
        mask: (B, T), True where a frame is real.
        sound: (B, 1, S); the samples of frame t lie from t S / T to (t + 1) S / T.
    """

    data: Tensor
    mask: Tensor
    sound: Tensor


class Video(Modality):
    """Frames of one size at one rate, and the sound of the same file in step with them.

    Attributes:
        frame: The modality of a single frame, for encoders of pictures.
    """

    form = "video"
    media_type = "video/mp4"
    accepts = ("video/mp4", "video/mpeg", "video/webm", "video/quicktime", "video/x-msvideo")
    limits = ("max_pixels", "max_seconds", "max_bytes")

    class Config(Modality.Config):
        """Size, rates and length."""

        size: int | tuple[int, int] = 112
        """Side of a square in pixels, or rows and columns; each frame gives its middle."""
        channels: Literal[1, 3] = 3
        """1 for grey, 3 for RGB."""
        mean: list[float] = field(default_factory=lambda: [0.5])
        """Subtracted from pixels in [0, 1]: one number, or one for each channel."""
        std: list[float] = field(default_factory=lambda: [0.5])
        """What pixels are divided by after the mean is subtracted: one number, or one for each channel."""
        frame_rate: float = 25.0
        """Frames a second; others are brought to it by leaving out or repeating."""
        seconds: float | None = None
        """Length of every video: longer ones give their middle, the last frame of shorter ones stays on,
        with silence. None keeps each one's own."""
        region: list[float] = field(default_factory=list)
        """Part of each frame that is kept: left, top, right and bottom as shares of the sides; none keeps all."""
        sample_rate: int | None = None
        """Samples a second of the sound; None leaves it out."""
        max_pixels: int = 10_000_000
        """Pixels of a frame above which a file is refused before it is decoded."""
        max_seconds: float = 120.0
        """Length above which a file is refused."""
        max_bytes: int = 3 << 30
        """Memory of all frames at `frame_rate`, before they are resized, above which a file is refused."""

        def __post_init__(self) -> None:
            if min(self.frame_rate, self.max_seconds, self.max_bytes) <= 0 or (
                self.seconds is not None and self.seconds <= 0
            ):
                raise ValueError("frame_rate, seconds, max_seconds and max_bytes are above 0.")
            if self.region and not (
                len(self.region) == 4
                and 0 <= self.region[0] < self.region[2] <= 1
                and 0 <= self.region[1] < self.region[3] <= 1
            ):
                raise ValueError("region is left, top, right and bottom, from 0 to 1, or nothing.")

    config: Video.Config

    def __init__(self, config: Video.Config) -> None:
        super().__init__(config)
        self.frame = Image(Image.Config(size=config.size, channels=config.channels, mean=config.mean, std=config.std))
        self.length = None if config.seconds is None else max(1, round(config.seconds * config.frame_rate))
        self.shape = (self.length, *self.frame.shape)

    def decode(self, raw: Any) -> Footage:
        """Returns frames (T, C, h, w) uint8 at `frame_rate`, and the sound at `sample_rate`.

        Args:
            raw: A path, URI or bytes of a video file, or frames and their rate: an array (T, h, w) or
                (T, h, w, C) of uint8, and frames a second. A file with a number takes so many seconds from
                its beginning, and no more of it is read.

        Raises:
            MediaError: It is not a readable video, is empty, too long, or too large.
        """
        config = self.config
        count = None
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            if not isinstance(raw[0], FILES):
                return Footage(self._given(*raw), torch.zeros(1, 0))
            raw, seconds = raw
            if not _countable(seconds):
                raise MediaError(f"{seconds!r} is not a length of a video.", "Seconds above 0 were expected.")
            count = max(1, round(min(float(seconds) * config.frame_rate, config.max_bytes)))
        if not isinstance(raw, FILES):
            raise MediaError(f"{type(raw).__name__} is not a video.", "A path, bytes, or frames with their rate.")
        mode = "gray" if config.channels == 1 else "rgb24"
        with opened(raw) as (file, name):
            frames, sound = film.read(
                file,
                name,
                config.frame_rate,
                mode,
                config.sample_rate,
                config.max_seconds,
                config.max_pixels,
                config.max_bytes,
                count,
            )
        pixels, samples = torch.from_numpy(frames), torch.from_numpy(sound)[None]
        return Footage(pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2), samples)

    def cost(self, raw: Any) -> int:
        """Returns what its frames may take at most: a header does not tell how many and how large they are."""
        return self.config.max_bytes

    def transform(self, value: Footage, random: Generator | None) -> Footage:
        """Returns frames (T, C, H, W), cropped, resized and normalised, and the sound (1, S)."""
        frames, sound = self._window(value)
        rows, columns = self._kept(*frames.shape[2:])
        frames = _resized(frames[:, :, rows, columns], self.frame.size)
        return Footage((frames - self.frame.mean) / self.frame.std, sound)

    def geometry(self, value: Footage, random: Generator | None) -> Geometry:
        """Returns where `transform` puts the parts of a frame, the same for all of them."""
        height, width = value.frames.shape[2:]
        rows, columns = self._kept(height, width)
        down, across = (
            self.frame.size[0] / (rows.stop - rows.start),
            self.frame.size[1] / (columns.stop - columns.start),
        )
        matrix = [[across, 0, -across * columns.start], [0, down, -down * rows.start]]
        return Geometry.identity((height, width)).then(torch.tensor(matrix, dtype=torch.float64), self.frame.size)

    def collate(self, values: Sequence[Footage]) -> Footages:
        """Returns frames (B, T, C, H, W) and sound (B, 1, S), with zeros after the end of each."""
        lengths = torch.tensor([len(value.frames) for value in values])
        longest, samples = int(lengths.max()), max(value.sound.shape[1] for value in values)
        data = torch.stack([F.pad(v.frames, (0, 0) * 3 + (0, longest - len(v.frames))) for v in values])
        sound = torch.stack([F.pad(v.sound, (0, samples - v.sound.shape[1])) for v in values])
        return Footages(data, torch.arange(longest) < lengths[:, None], sound)

    def encode(self, value: Footage | Footages | Tensor) -> bytes:
        """Returns normalised frames as MP4, with their sound if there is any; what lies outside the range is clipped.

        Args:
            value: Frames (T, C, H, W), or a Footage, or a row of Footages, whose frames end with its mask.
        """
        if isinstance(value, Footage):
            frames, sound = value.frames, value.sound
        elif isinstance(value, Footages):
            count = int(value.mask.sum())
            frames, sound = value.data[:count], value.sound[:, : round(count * value.sound.shape[1] / len(value.data))]
        else:
            frames, sound = value, torch.zeros(1, 0)
        pixels = (frames.detach().cpu().float() * self.frame.std + self.frame.mean).clamp(0, 1).mul(255).round().byte()
        return film.write(
            pixels.expand(-1, 3, -1, -1).permute(0, 2, 3, 1).numpy(),
            self.config.frame_rate,
            sound[0].detach().cpu().float().numpy(),
            self.config.sample_rate,
        )

    def example(self, random: Generator) -> bytes:
        """Returns an MP4 of a few spots that change, as long as a video, or half a second."""
        count = self.length or round(self.config.frame_rate / 2)
        spots = torch.rand(2, self.config.channels, 4, 4, generator=random)
        spots = F.interpolate(spots, self.frame.size, mode="bilinear")
        share = torch.linspace(0, 1, count)[:, None, None, None]
        frames = spots[0] * (1 - share) + spots[1] * share
        return self.encode((frames - self.frame.mean) / self.frame.std)

    def _given(self, frames: Any, rate: Any) -> Tensor:
        if not isinstance(frames, (np.ndarray, Tensor)) or not _countable(rate):
            raise MediaError(f"({type(frames).__name__}, {rate!r}) are not frames with their rate.")
        pixels = torch.as_tensor(frames)
        if pixels.dtype != torch.uint8 or pixels.ndim not in (3, 4) or not pixels.numel():
            raise MediaError(
                f"The frames given are {pixels.dtype} of the shape {tuple(pixels.shape)}.",
                "uint8 (T, h, w) or (T, h, w, C) was expected.",
            )
        pixels = pixels[:, None] if pixels.ndim == 3 else pixels.permute(0, 3, 1, 2)
        if pixels.shape[1] not in (1, self.config.channels):
            raise MediaError(f"The frames given have {pixels.shape[1]} channels.", f"{self.config.channels} expected.")
        exact = len(pixels) / float(rate) * self.config.frame_rate
        film.bounded("the film given", exact * pixels[0].numel(), self.config.max_bytes)
        count = max(1, round(exact))
        chosen = ((torch.arange(count) + 0.01) * (float(rate) / self.config.frame_rate)).long()
        return pixels[chosen.clamp(max=len(pixels) - 1)].expand(-1, self.config.channels, -1, -1)

    def _kept(self, height: int, width: int) -> tuple[slice, slice]:
        """Returns the rows and columns that are kept: of the region, the middle of the aspect of `size`."""
        left, top, right, bottom = self.config.region or (0.0, 0.0, 1.0, 1.0)
        first, start = int(top * height), int(left * width)
        height, width = max(1, int(bottom * height) - first), max(1, int(right * width) - start)
        aspect = self.frame.size[1] / self.frame.size[0]
        rows, columns = max(1, round(min(height, width / aspect))), max(1, round(min(width, height * aspect)))
        first, start = first + (height - rows) // 2, start + (width - columns) // 2
        return slice(first, first + rows), slice(start, start + columns)

    def _window(self, value: Footage) -> tuple[Tensor, Tensor]:
        frames, sound = value.frames, value.sound
        if self.length is None or len(frames) == self.length:
            return frames, sound
        spare, each = len(frames) - self.length, sound.shape[1] / len(frames)
        if spare > 0:
            start = spare // 2
            samples = slice(round(start * each), round(start * each) + round(self.length * each))
            return frames[start : start + self.length], sound[:, samples]
        still = frames[-1:].expand(-spare, -1, -1, -1)
        return torch.cat([frames, still]), F.pad(sound, (0, round(self.length * each) - sound.shape[1]))


def _countable(number: Any) -> bool:
    """Returns whether something is a finite number above 0."""
    return isinstance(number, Real) and math.isfinite(number) and float(number) > 0


def _resized(frames: Tensor, size: tuple[int, int]) -> Tensor:
    """Returns frames (T, C, h, w) at a size, as floats in [0, 1]."""
    if tuple(frames.shape[2:]) != tuple(size):
        frames = F.interpolate(frames, size, mode="bicubic", antialias=True)
    return frames.float() / 255
