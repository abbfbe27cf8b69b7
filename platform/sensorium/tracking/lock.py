"""Locks among the processes of one user on one machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sensorium.errors import UserError
from sensorium.paths import expanded


def lock_file(name: str) -> Path:
    """Returns the file that stands for a name, in a folder that is the user's own.

    Raises:
        UserError: The folder cannot be made, or others could write there.
    """
    state = expanded(os.environ.get("XDG_STATE_HOME", "")) or Path.home() / ".local" / "state"
    folder = Path(state) / "sensorium" / "locks"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.lstat()
    except OSError as cause:
        raise UserError(
            f"The folder of locks {folder} cannot be made: {cause.strerror}.",
            "Expected: a folder of yours that can be written.",
            "Set XDG_STATE_HOME to one.",
        ) from cause
    if found.st_uid != os.getuid() or stat.S_ISLNK(found.st_mode) or found.st_mode & 0o022:
        raise UserError(
            f"Others can write to the folder of locks {folder}, or it is a link.",
            "Expected: a folder of yours with mode 0700.",
            "Remove it; it is made anew.",
        )
    return folder / f"{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}.lock"


def open_lock(path: str | Path) -> int:
    """Returns a descriptor of a lock's file, which is made if need be; follows no link and truncates nothing."""
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Waits until no other process holds the name, and holds it meanwhile."""
    descriptor = open_lock(lock_file(name))
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
