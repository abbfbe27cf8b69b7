"""What the header of a WAV file says of its length, which libsndfile corrects without a word."""

from __future__ import annotations

import struct
from typing import BinaryIO

OPEN = (range(1), range(0x7FFFF000, 0x80000000), range(0xFFFFFF00, 0x100000000))
"""Sizes that programs write which do not know the length, as they write into a pipe."""


def claimed(file: BinaryIO) -> tuple[int, int] | None:
    """Returns the bytes of samples that a WAV file claims and those that it can hold; None where it claims none.

    The position in the file stays where it was.
    """
    place = file.tell()
    try:
        head = file.read(12)
        if head[:4] != b"RIFF" or head[8:] != b"WAVE":
            return None
        while len(head := file.read(8)) == 8:
            kind, size = struct.unpack("<4sI", head)
            if kind == b"data":
                begin = file.tell()
                held = file.seek(0, 2) - begin
                return None if any(size in sizes for sizes in OPEN) else (size, held)
            file.seek(size + size % 2, 1)
        return None
    finally:
        file.seek(0, 2)  # so that the descriptor itself moves, which libsndfile reads
        file.seek(place)
