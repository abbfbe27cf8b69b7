"""Series of measurements in time: inertial sensors, sensors of weather, whatever has channels and readings.

Shapes: B samples, C channels, T readings, N readings of a file.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import field
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor
from torch.nn import functional as F

from sensorium import Geometry, MediaError, Modality, Padded
from sensorium.builtin.modalities import npy
from sensorium.builtin.modalities.source import opened, readable

COPIES = 4
"""Times that all numbers lie in memory while they are read, of 8 bytes."""


class Series(Modality):
    """Readings of several channels: a fixed number, as a picture of one row for encoders of pictures, or each its own.

    An inertial sensor (IMU) has six channels: acceleration along three axes, in m/s², then rotation about them,
    in rad/s. A file holds a line for each reading with a number for each channel (CSV, perhaps with a first line of
    names), or an array (N, C) in NumPy's format. Without `length` a batch is Padded (B, C, T).
    """

    media_type = "text/csv"
    accepts: ClassVar[tuple[str, ...]] = ("text/csv",)
    limits = ("max_readings",)
    probe: ClassVar[dict[str, Any]] = {"channels": 6, "length": 40}

    class Config(Modality.Config):
        """Channels, length and scale."""

        channels: int
        """Numbers in a reading."""

        length: int | None = None
        """Readings: longer ones give their middle, in training any stretch; shorter ones rest at the mean. None keeps
        each one's own."""

        follows: str | None = None
        """Field of a picture or video whose pixels they are places in, x and y in turn: each reading moves with it."""

        mean: list[float] = field(default_factory=lambda: [0.0])
        """Subtracted from readings, in their own unit: one number, or one for each channel."""

        std: list[float] = field(default_factory=lambda: [1.0])
        """What readings are divided by after the mean is subtracted: one number, or one for each channel."""

        max_readings: int = 1_000_000
        """Readings in a file above which it is refused."""

        def __post_init__(self) -> None:
            if min(self.channels, self.length or 1, self.max_readings) < 1 or self.length == 0:
                raise ValueError("channels, length and max_readings are at least 1.")
            for name in ("mean", "std"):
                if len(getattr(self, name)) not in (1, self.channels):
                    raise ValueError(f"{name} holds one number, or one for each of the {self.channels} channels.")
            if min(self.std) <= 0:
                raise ValueError("std is above 0.")
            if self.follows is not None and self.channels % 2:
                raise ValueError("Places have two channels each: with follows, channels is even.")

    config: Series.Config

    def __init__(self, config: Series.Config) -> None:
        super().__init__(config)
        self.follows = config.follows
        self.form = "image" if config.length else "series"
        self.shape = (config.channels, 1, config.length) if config.length else (config.channels, None)
        self.mean, self.std = (torch.tensor(each).view(-1, 1, 1) for each in (config.mean, config.std))

    def decode(self, raw: Any) -> Tensor:
        """Returns (C, N) float32, in the unit of the readings.

        Args:
            raw: A path, URI or bytes of a file, or an array or tensor (N, C).

        Raises:
            MediaError: It is not readable, too long, or has another number of channels.
        """
        name = "the series given"
        if isinstance(raw, (str, Path, bytes, bytearray, memoryview)):
            with opened(raw) as (file, name), readable(name, "series", "Lines of numbers, or an array, were expected."):
                raw = self._read(file, name)
        if not isinstance(raw, (np.ndarray, Tensor)) or (isinstance(raw, np.ndarray) and raw.dtype.kind not in "buif"):
            raise MediaError(f"{type(raw).__name__} is not a series.", "A path, bytes or an array was expected.")
        readings = (torch.from_numpy(raw.astype(np.float64)) if isinstance(raw, np.ndarray) else raw).float()
        if readings.ndim != 2 or readings.shape[1] != self.config.channels or not len(readings):
            raise MediaError(
                f"{name} has the shape {tuple(readings.shape)}.",
                f"Readings of {self.config.channels} channels were expected: an array (N, {self.config.channels}).",
            )
        if len(readings) > self.config.max_readings:
            raise self._too_long(name, f"{len(readings)} readings")
        if not readings.isfinite().all():
            raise MediaError(f"{name} holds what is not a finite number.", "", "Take these readings out.")
        return readings.T.clone()

    def cost(self, raw: Any) -> int:
        """Returns the bytes of its numbers: by the header, or by the length of the text, two characters for one."""
        most = 8 * COPIES * self.config.max_readings * self.config.channels
        with suppress(Exception), opened(raw) as (file, _):
            if npy.is_npy(file):
                return min(8 * COPIES * math.prod(npy.header(file)[0]), most)
            return min(4 * COPIES * file.seek(0, io.SEEK_END), most)
        return 0

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns (C, 1, T), scaled; where the series is longer, any stretch of it if `random` is given.

        Without `length` it returns (C, N).
        """
        if self.config.length is None:
            return (value - self.mean[:, 0]) / self.std[:, 0]
        spare = value.shape[1] - self.config.length
        start = max(0, spare) // 2
        if random is not None and spare > 0:
            start = int(torch.randint(spare + 1, (), generator=random))
        kept = value[:, None, start : start + self.config.length]
        scaled = (kept - self.mean) / self.std
        return F.pad(scaled, (0, self.config.length - scaled.shape[2]))

    def follow(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns what `transform` does of places that have moved with a picture."""
        places = value.T.reshape(-1, self.config.channels // 2, 2)
        return self.transform(geometry.places(places).flatten(1).T, None)

    def put_back(self, value: Tensor | Padded, geometry: Geometry) -> Tensor:
        """Returns places as they lie on the picture that was sent, scaled."""
        return self.follow(self._unscaled(value), geometry.inverse())

    def collate(self, values: Sequence[Tensor]) -> Tensor | Padded:
        """Returns (B, C, 1, T), or without `length` Padded (B, C, T)."""
        if self.config.length is not None:
            return torch.stack(list(values))
        lengths = torch.tensor([value.shape[1] for value in values])
        longest = int(lengths.max())
        data = torch.stack([F.pad(value, (0, longest - value.shape[1])) for value in values])
        return Padded(data, torch.arange(longest) < lengths[:, None])

    def encode(self, value: Tensor | Padded) -> str:
        """Returns the readings of (C, 1, T), or (C, N), or of a row of Padded, a line for each, in their own unit."""
        readings = self._unscaled(value).T
        return "".join(",".join(f"{number:.6g}" for number in reading) + "\n" for reading in readings.tolist())

    def example(self, random: Generator) -> bytes:
        """Returns readings around the mean."""
        length = self.config.length or int(torch.randint(10, 21, (), generator=random))
        return self.encode(torch.randn(self.config.channels, length, generator=random)).encode()

    def _unscaled(self, value: Tensor | Padded) -> Tensor:
        """Returns (C, N) in the unit of the readings."""
        rows = value.data[:, value.mask] if isinstance(value, Padded) else value
        return rows.detach().cpu().float().reshape(self.config.channels, -1) * self.std[:, 0] + self.mean[:, 0]

    def _read(self, file: BinaryIO, name: str) -> NDArray[Any]:
        most = self.config.max_readings
        if npy.is_npy(file):
            return npy.read(file, name, most * self.config.channels, "Cut it, or raise max_readings.")
        skipped = 0 if _numeric(file.readline(1 << 16)) else 1
        file.seek(0)
        readings = np.loadtxt(file, np.float64, delimiter=",", skiprows=skipped, ndmin=2, max_rows=most + 1)
        if len(readings) > most:
            raise self._too_long(name, f"more than {most} readings")
        return readings

    def _too_long(self, name: str, found: str) -> MediaError:
        return MediaError(
            f"{name} holds {found}.",
            f"At most {self.config.max_readings} were expected.",
            "Cut it, or raise max_readings.",
        )


def _numeric(line: bytes) -> bool:
    try:
        return bool([float(each) for each in line.split(b",")])
    except ValueError:
        return False
