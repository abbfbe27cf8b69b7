"""A folder that holds what datasets fetched or worked out, up to a bound, for all processes of a machine.

Each entry is a file that appears whole, under a name that follows from what it was made from: an entry never changes,
and what its source becomes has another name. The one that was longest not used goes first. A process that still has it
open or mapped goes on reading it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from sensorium import Config, UserError, expanded

Content = tuple[int, Callable[[BinaryIO], object]]
"""Bytes of an entry, and what writes them to a file."""
Loaded = TypeVar("Loaded")
MOST_OPEN = 256
"""Files that a process keeps open."""
LOCKS = 64
"""Files that processes lock; entries share them."""
PART = ".part"
"""Ending of a file that is being written, or was by a process that died."""
PAUSE = 0.05
"""Seconds until it is looked again whether others have written theirs."""
FRESH = 10
"""Seconds for which an entry that was used counts as just used."""


class Cache(Config):
    """Where what is fetched or worked out is kept."""

    folder: str = ""
    """Folder on a disk of each machine; empty for that of the variable SENSORIUM_CACHE, or ~/.cache/sensorium."""
    gigabytes: float = 16.0
    """Most that the folder holds, in 10^9 bytes; what was longest not used goes first."""

    def __post_init__(self) -> None:
        if not self.gigabytes > 0:
            raise ValueError("gigabytes must be above 0.")

    def open(self) -> Store:
        """Returns what is kept there.

        Raises:
            UserError: The folder is named, and cannot be written.
        """
        return Store(self.folder, int(self.gigabytes * 1e9))


@dataclass(frozen=True)
class Store:
    """Files by name. Safe for several threads and processes.

    Args:
        named: The folder that was asked for; empty for that of the user.
        bound: Bytes that it holds at most.
    """

    named: str
    bound: int
    folder: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "folder", _folder(self.named))

    def find(self, name: str) -> Path | None:
        """Returns where an entry lies, and counts it as used; None where there is none.

        One that somebody is fetching in this process is waited for.
        """
        if (busy := _busy.get(self.folder / name)) is not None:
            with busy:
                pass
        return self._there(name)

    def _there(self, name: str) -> Path | None:
        path = self.folder / name
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > FRESH:
                os.utime(path)
            return path
        return None

    def keep(self, name: str, make: Callable[[], Content]) -> Path | None:
        """Returns where an entry lies, which is made if it is not there: by one process, for which others wait.

        Args:
            name: What it is called, by `name_of`.
            make: Returns how many bytes it has, and what writes them.

        Returns:
            None where so many bytes never find room.
        """
        if (path := self._there(name)) is not None:
            return path
        busy = _busy.setdefault(self.folder / name, threading.Lock())
        try:
            kind, _, digest = name.partition("-")
            with busy, self._locked(f"{kind}-{int(digest[:8], 16) % LOCKS}"):
                if (path := self._there(name)) is not None:
                    return path
                size, write = make()
                return self._write(self.folder / name, size, write) if size <= self.bound else None
        finally:
            _busy.pop(self.folder / name, None)

    def load(self, name: str, make: Callable[[], Content], read: Callable[[Path], Loaded]) -> Loaded | None:
        """Returns what `read` makes of an entry, which is made if it is not there; None where it never finds room."""
        again = True
        while (path := self.keep(name, make)) is not None:
            try:
                return read(path)
            except FileNotFoundError:  # it has just been removed
                continue
            except (ValueError, KeyError, TypeError):  # it is not what was written: made anew, once
                if not again:
                    raise
                again = False
                self.remove(name)
        return None

    def remove(self, name: str) -> None:
        """Removes an entry, if it is there."""
        (self.folder / name).unlink(missing_ok=True)

    def _write(self, path: Path, size: int, write: Callable[[BinaryIO], object]) -> Path:
        part = path.with_name(f"{path.name}.{os.getpid()}{PART}")
        try:
            with self._begun(part, size) as file:
                write(file)
                file.flush()
                if (written := file.tell()) != size:
                    raise OSError(f"{written} bytes came where {size} were expected")
                os.fsync(file.fileno())
                with self._locked("room"):  # whoever counts sees it under one of its names
                    return part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _begun(self, part: Path, size: int) -> BinaryIO:
        """Returns a new file, which counts with all its bytes, when there is room for it."""
        while True:
            with self._locked("room"):
                if self._make_room(size):
                    file = part.open("wb")
                    fcntl.flock(file, fcntl.LOCK_EX)  # says that somebody is writing it
                    file.truncate(size)
                    return file
            time.sleep(PAUSE)

    def _make_room(self, size: int) -> bool:
        """Removes what was longest not used, indices last, until so many bytes find room; what is written stays.

        Returns:
            Whether they do; else they will when others have written theirs.
        """
        found = []
        for path in self.folder.glob("*-*"):
            with suppress(FileNotFoundError):
                found.append((path.name.startswith("index-"), path.stat().st_mtime, path.stat().st_size, path))
        total = sum(each[2] for each in found)
        for _, _, taken, path in sorted(found):
            if total + size > self.bound and not _being_written(path):
                path.unlink(missing_ok=True)
                total -= taken
        _let_go()
        return total + size <= self.bound

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        locks = self.folder / "locks"
        locks.mkdir(parents=True, exist_ok=True)  # somebody may have removed the folder
        with (locks / name).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


_busy: dict[Path, threading.Lock] = {}
"""Entries that threads of this process are writing."""


def name_of(kind: str, *parts: Any) -> str:
    """Returns the name of an entry of a kind that is made from some values, of which JSON can be written.

    An entry may need others while it is made, of another kind.
    """
    return f"{kind}-{hashlib.blake2b(json.dumps(parts).encode(), digest_size=20).hexdigest()}"


def pread(path: Path, start: int, end: int, modified: str = "") -> bytes:
    """Returns the bytes of a file from one place to another.

    Args:
        path: The file; it stays readable when it is removed, or another one takes its place.
        start: Where they begin.
        end: Where they end.
        modified: When it was written, to tell it from another one that takes its place.

    Raises:
        OSError: It is not there, or ends before.
    """
    file = _opened(path, modified)  # held, as another thread may drop it meanwhile
    data = os.pread(file.fileno(), end - start, start)
    if len(data) < end - start:
        raise OSError(f"it ends at byte {start + len(data)}, before {end}")
    return data


def _opened(path: Path, modified: str) -> BinaryIO:
    with _opening:
        key = path, modified
        file = _open.pop(key) if key in _open else path.open("rb", buffering=0)
        _open[key] = file
        while len(_open) > MOST_OPEN:
            del _open[next(iter(_open))]
    return file


def _being_written(path: Path) -> bool:
    """Returns whether a process is writing a file, which it has locked."""
    if path.suffix != PART:
        return False
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def _let_go() -> None:
    """Closes what was removed, so that its place is free."""
    with _opening:
        for key in [key for key in _open if not key[0].exists()]:
            del _open[key]


_open: dict[tuple[Path, str], BinaryIO] = {}
"""Files of this process, the last used at the end; one is closed when nobody reads it any more."""
_opening = threading.Lock()


@cache
def _folder(named: str) -> Path:
    """Returns the folder, made if need be; one of this process alone where that of the user cannot be written."""
    if named:
        folder = Path(expanded(named)).absolute()
        if not _usable(folder):
            raise UserError(
                f"The cache {folder} cannot be written.", "A folder on a disk of the machine.", "Change cache.folder."
            )
        return folder
    with suppress(UserError):
        folder = Path(expanded(os.environ.get("SENSORIUM_CACHE") or "~/.cache/sensorium"))
        if _usable(folder):
            return folder
    own = tempfile.TemporaryDirectory(prefix="sensorium-")
    _own.append(own)
    return Path(own.name)


_own: list[tempfile.TemporaryDirectory[str]] = []
"""Folders that go with the process."""


def _usable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)
