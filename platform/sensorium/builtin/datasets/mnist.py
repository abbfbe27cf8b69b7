"""MNIST, from the IDX files as torchvision lays them out."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from sensorium import UserError, expanded
from sensorium.builtin.datasets.digits import WrittenDigits
from sensorium.builtin.datasets.files import require

UNSIGNED_BYTE = 8


class MNIST(WrittenDigits):
    """60,000 + 10,000 handwritten digits of 28 x 28 pixels, with captions.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST database of handwritten digits.
    """

    config: Config

    class Config(WrittenDigits.Config):
        """Options of MNIST."""

        root: str
        """Folder that holds MNIST/raw, as torchvision.datasets.MNIST(root) leaves it."""

    def read(self, split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Returns the images (N, 28, 28) and their digits (N,) of one split."""
        stem = "train" if split == "train" else "t10k"
        raw = Path(expanded(self.config.root)) / "MNIST" / "raw"
        images = read_idx(raw / f"{stem}-images-idx3-ubyte", 3)
        labels = read_idx(raw / f"{stem}-labels-idx1-ubyte", 1)
        if len(images) != len(labels) or labels.max(initial=0) > 9:
            raise UserError(
                f"The {stem} files of {raw} hold {len(images)} images and {len(labels)} labels up to "
                f"{labels.max(initial=0)}.",
                "Each image has a label from 0 to 9.",
                "Fetch the files again.",
            )
        return images, labels


def read_idx(path: Path, dimensions: int) -> np.ndarray[Any, Any]:
    """Returns the array of an IDX file of unsigned bytes, plain or as `.gz`.

    The header is 0, 0, the type (8), the number of dimensions, and each size as big-endian int32.

    Raises:
        UserError: There is no such file, it is cut short, or it is something else.
    """
    packed = path.with_name(f"{path.name}.gz")
    if not path.exists() and packed.exists():
        path = packed
    path = require(path, "IDX file", "Set `root` to the folder that holds MNIST/raw.")
    try:
        data = gzip.decompress(path.read_bytes()) if path == packed else path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as cause:
        raise _damaged(path, str(cause), "a complete gzip file") from cause
    start = 4 + 4 * dimensions
    if data[:4] != bytes([0, 0, UNSIGNED_BYTE, dimensions]) or len(data) < start:
        raise _damaged(path, f"it begins with {data[:4].hex(' ')}", f"an IDX file with {dimensions} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(data, ">i4", dimensions, 4))
    if len(data) - start != np.prod(shape, dtype=np.int64):
        raise _damaged(path, f"it holds {len(data) - start} bytes", f"{shape}, one byte each, as its header says")
    return np.frombuffer(data, np.uint8, offset=start).reshape(shape)


def _damaged(path: Path, cause: str, expected: str) -> UserError:
    return UserError(f"{path} is damaged or cut short: {cause}.", f"Expected {expected}.", "Fetch the file again.")
