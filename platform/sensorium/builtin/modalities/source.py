"""Opens what a raw value names: a path, a URI, or bytes themselves; says so when a decoder gives up on it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from sensorium import MediaError, expanded

Source = str | Path | bytes | bytearray | memoryview

LONGEST = 4096
"""Characters of the longest path of Linux."""


@contextmanager
def opened(raw: Source) -> Iterator[tuple[BinaryIO, str]]:
    """Yields a seekable binary file and its name for messages.

    Args:
        raw: A path, a URI that fsspec knows (`s3://bucket/key`), or a file's content.

    Raises:
        MediaError: It is not there, is empty, or may not be read.
    """
    given = isinstance(raw, (bytes, bytearray, memoryview))
    name = "the file given" if given else _short(str(raw)) or "an empty path"
    try:
        file = _open(raw)
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
    except Exception as cause:  # each kind of file system has exceptions of its own
        reason = cause.strerror if isinstance(cause, OSError) and cause.strerror else str(cause)
        raise MediaError(f"{name} cannot be opened ({reason}).", "", "Check the path.") from cause
    with file:
        if not size:
            raise MediaError(f"{name} is empty (0 bytes).", "", "Replace the file or leave it out.")
        yield file, name


@contextmanager
def readable(name: str, what: str, expected: str) -> Iterator[None]:
    """Turns whatever a decoder raises for a broken file into a MediaError.

    Decoders written in C raise nearly anything for bytes that were tampered with (TypeError, MemoryError,
    errors of their own), and which of them is not a promise of theirs.

    Args:
        name: Of the file, for messages.
        what: What the file should be, such as `picture`.
        expected: What would have been read, as a sentence.

    Raises:
        MediaError: Whatever was raised inside, if it is not one already.
    """
    try:
        yield
    except MediaError:
        raise
    except Exception as cause:
        reason = str(cause).rstrip(". ") or type(cause).__name__
        raise MediaError(
            f"{name} is not a readable {what} ({reason}).", expected, "Replace the file or leave it out."
        ) from cause


def _short(path: str) -> str:
    """Returns a path for messages; of what is longer than any path, its beginning."""
    return path if len(path) <= LONGEST else f"{path[:60]}…"


def _open(raw: Source) -> BinaryIO:
    if isinstance(raw, (bytes, bytearray, memoryview)):
        return io.BytesIO(raw)
    path = expanded(raw)
    if "://" in path:
        import fsspec

        files, inside = fsspec.url_to_fs(path)
        return io.BytesIO(files.cat_file(inside))  # one request; opening it would ask for its size first
    return Path(path).open("rb")
