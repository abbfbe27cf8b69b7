"""Locks among the processes of one user on one machine."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def lock_file(name: str) -> Path:
    """Returns the file that stands for a name."""
    key = hashlib.blake2b(name.encode(), digest_size=8).hexdigest()
    return Path(tempfile.gettempdir()) / f"sensorium-{os.getuid()}-{key}.lock"


@contextmanager
def alone(name: str) -> Iterator[None]:
    """Waits until no other process holds the name, and holds it meanwhile."""
    with lock_file(name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
