"""Arrays of numbers in NumPy's file format, read within bounds that are known from the header.

After the description of the format in `numpy.lib.format`, versions 1.0 and 2.0.
"""

from __future__ import annotations

import io
import math
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from sensorium import MediaError

MAGIC = b"\x93NUMPY"
"""What such a file begins with."""


def is_npy(file: BinaryIO) -> bool:
    """Returns whether a file is one, and stays at its beginning."""
    start = file.read(len(MAGIC))
    file.seek(0)
    return start == MAGIC


def header(file: BinaryIO) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Returns shape, whether columns come first, and type of the numbers; the file then stands behind the header.

    Raises:
        ValueError: It is broken, or of another version.
    """
    version = npy.read_magic(file)
    if version == (1, 0):
        shape, columns, kind = npy.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, columns, kind = npy.read_array_header_2_0(file)
    else:
        raise ValueError(f"version {version[0]}.{version[1]}")
    return shape, columns, kind


def read(file: BinaryIO, name: str, most: int, hint: str) -> NDArray[Any]:
    """Returns the array; nothing in it is unpickled.

    Args:
        file: At its beginning.
        name: For messages.
        most: Numbers at most.
        hint: What to do about a larger one.

    Raises:
        MediaError: It holds something else than numbers, more than `most`, or breaks off.
        ValueError: Its header is broken.
    """
    shape, columns, kind = header(file)
    count = math.prod(shape)
    if kind.kind not in "buif":
        raise MediaError(f"{name} holds {kind}.", "Numbers were expected.")
    if min(shape, default=1) < 0 or count > most:
        raise MediaError(f"{name} has the shape {shape}.", f"At most {most} numbers were expected.", hint)
    start = file.tell()
    there = file.seek(0, io.SEEK_END) - start
    if there < count * kind.itemsize:
        raise MediaError(f"{name} breaks off, with {there} of {count * kind.itemsize} bytes of numbers.")
    file.seek(start)
    numbers = np.frombuffer(file.read(count * kind.itemsize), kind)
    return numbers.reshape(shape, order="F" if columns else "C")
