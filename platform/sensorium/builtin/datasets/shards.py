"""Files of which parts are read, local or at a URI: from the disk where they lie there or were fetched to it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tarfile import TarError
from typing import Any, BinaryIO

from sensorium import UserError
from sensorium.builtin.datasets.cache import Content, Store, name_of, pread
from sensorium.builtin.datasets.files import down, filesystem, name_in, told, unread

PIECE = 1 << 25
"""Bytes that are fetched with one request."""
REQUESTS = 16
"""Requests at a time, where one is made for each of many files."""


@dataclass(frozen=True)
class Shard:
    """A file as it was found.

    Attributes:
        uri: Its path or URI.
        kind: What it should be, for messages, such as "tar".
        size: Its bytes.
        modified: When it was written, as its file system says it; empty where that does not tell.
    """

    uri: str
    kind: str
    size: int
    modified: str

    @cached_property
    def name(self) -> str:
        """Name of its copy in the cache."""
        return name_of("shard", self.uri, self.size, self.modified)

    @cached_property
    def stem(self) -> str:
        """The last part of its path, without the ending that its kind has."""
        return name_in(self.uri).removesuffix(f".{self.kind}")

    @cached_property
    def far(self) -> bool:
        """Whether it lies on another machine."""
        return not {"file", "local", "memory"} & set(_protocols(filesystem(self.uri)[0]))

    @cached_property
    def local(self) -> Path | None:
        """Where it lies on this machine's file system."""
        system, path = filesystem(self.uri)
        return Path(path) if {"file", "local"} & set(_protocols(system)) else None

    def read(self, start: int, end: int, store: Store, whole: bool = False) -> bytes:
        """Returns the bytes from one place to another.

        Args:
            start: Where they begin.
            end: Where they end.
            store: Where copies are kept.
            whole: Whether to fetch all of it where there is no copy.

        Raises:
            UserError: It is not there any more, or its server is down or gives whole files alone.
        """
        with told(lambda cause: unreadable(self.uri, self.kind, cause)):
            if (path := self.local) is not None:
                return pread(path, start, end, self.modified)
            if self.far and (path := self.fetched(store) if whole else self._copy(store)) is not None:
                with suppress(OSError):  # it has just been removed
                    return pread(path, start, end)
            return part(*filesystem(self.uri), start, end)

    def fetched(self, store: Store) -> Path | None:
        """Returns a copy on this machine; None where it finds no room in the cache, or on the disk."""
        with suppress(OSError):
            return self.local or self._copy(store) or store.keep(self.name, self._content)
        return None

    def _copy(self, store: Store) -> Path | None:
        """Returns the copy in the cache; one that somebody has cut short is removed."""
        path = store.find(self.name)
        with suppress(OSError):
            if path is not None and path.stat().st_size == self.size:
                return path
            store.remove(self.name)
        return None

    def fetch(self, store: Store) -> float:
        """Has a copy fetched if it lies afar, and returns which share of the cache that takes."""
        if not self.far or self.fetched(store) is None:
            return 0.0
        return self.size / store.bound

    def _content(self) -> Content:
        system, path = filesystem(self.uri)

        def write(file: BinaryIO) -> None:
            for start in range(0, self.size, PIECE):
                with told(lambda cause: unreadable(self.uri, self.kind, cause)):
                    piece = part(system, path, start, min(start + PIECE, self.size))
                file.write(piece)

        return self.size, write


def found(uris: Iterable[str], kind: str) -> list[Shard]:
    """Returns files as they are now.

    Raises:
        UserError: One is missing, or its server is down.
    """
    uris = list(uris)
    if all("://" not in uri for uri in uris):
        return [_found(uri, kind) for uri in uris]
    with ThreadPoolExecutor(REQUESTS) as pool:
        return list(pool.map(_found, uris, [kind] * len(uris)))


def _found(uri: str, kind: str) -> Shard:
    system, path = filesystem(uri)
    with told(lambda cause: unreadable(uri, kind, cause)):
        about = system.info(path)
        size = about["size"]
        if about.get("type") == "directory":
            raise IsADirectoryError("it is a folder")
        if size is None:
            raise OSError("the server does not tell its size")
        try:
            modified = str(system.modified(path))
        except NotImplementedError:  # HTTP may tell it by other names
            modified = str(about.get("ETag") or about.get("Last-Modified") or "")
    return Shard(uri, kind, size, modified)


def part(system: Any, path: str, start: int, end: int) -> bytes:
    """Returns the bytes of a file from one place to another.

    Raises:
        UserError: A server gives all of it instead.
    """
    with suppress(ValueError):  # by which some file systems say so
        data: bytes = system.cat_file(path, start=start, end=end)
        if len(data) <= end - start:
            return data
    raise UserError(
        f"The server of {path} gives whole files alone, not a part of one.",
        "Samples are read at random: the server has to answer requests for ranges of bytes.",
        "Use one that does, such as nginx, or fetch the shards.",
    )


def unreadable(uri: str, kind: str, cause: Exception) -> UserError:
    """Returns the error for a shard that cannot be read."""
    if down(cause) or not isinstance(cause, OSError | TarError):
        return unread(uri, cause, f"Expected a whole {kind} file.")
    return UserError(
        f"The shard {uri} is missing, cut short or damaged: {' '.join(str(cause).split()):.200}.",
        f"Expected a whole {kind} file that is not packed.",
        "Correct the pattern, or write or fetch the shard again.",
    )


def _protocols(system: Any) -> tuple[str, ...]:
    return (system.protocol,) if isinstance(system.protocol, str) else tuple(system.protocol)
