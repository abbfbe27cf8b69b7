"""Who works on a run: a file in the run's folder that says so, so that no second process does the same.

Promised: of two processes that claim a folder at once, one is refused, where its file system or store makes a file
only if there is none (folders of POSIX systems, S3, Google Cloud Storage, Azure). A store that cannot is asked first
and written then: two that come within that moment both go on.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
import time
from typing import Any

from sensorium.errors import UserError
from sensorium.training import runs

FILE = "in-use.json"
RENEWAL = 20.0
"""Seconds after which a claim is renewed."""
STALE = 120.0
"""Seconds without renewal after which a claim counts for nothing; clocks of two machines may differ by less."""


class Claim:
    """A folder that this process works on, until it lets go of it or ends.

    Args:
        folder: The run's folder or URI.

    Raises:
        UserError: Another process works on it; says which. Or the storage cannot be written.
    """

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self._mine = {"id": secrets.token_hex(8), "host": socket.gethostname(), "pid": os.getpid()}
        self._mine["since"] = time.time()
        self._released = threading.Event()
        self._take()
        self._renewing = threading.Thread(target=self._renew, name="claim", daemon=True)
        self._renewing.start()

    def release(self) -> None:
        """Lets others work on the folder."""
        self._released.set()
        self._renewing.join()
        with contextlib.suppress(UserError):  # the storage is away, and the claim will be stale before long
            if self._is_mine():
                runs.remove(self.folder, FILE)

    def _take(self) -> None:
        for _ in range(2):  # the second time after the file of a process that is gone
            if runs.write_new(self.folder, FILE, self._content()):
                return
            found = _read(self.folder)
            if found is not None and found["id"] == self._mine["id"]:  # the answer to the first attempt was lost
                return
            if found is not None and not _is_stale(found):
                raise _in_use(self.folder, found)
            runs.remove(self.folder, FILE)
        raise UserError(f"Another process has just begun to work on {self.folder}.", "", "Wait until it ends.")

    def _renew(self) -> None:
        while not self._released.wait(RENEWAL):
            try:
                if self._is_mine():
                    runs.write(self.folder, FILE, self._content(), 0)
            except (OSError, UserError):  # the storage is away; so it is for everybody who could take over
                continue

    def _is_mine(self) -> bool:
        found = _read(self.folder)
        return found is not None and found["id"] == self._mine["id"]

    def _content(self) -> str:
        return json.dumps({**self._mine, "renewed": time.time()})


def _read(folder: str) -> dict[str, Any] | None:
    """Returns what the file of a folder says; None if there is none, or none that a claim wrote."""
    try:
        found = json.loads(runs.read(folder, FILE, 0))
        return {key: kind(found[key]) for key, kind in _KINDS.items()}
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


_KINDS = {"id": str, "host": str, "pid": int, "since": float, "renewed": float}


def _is_stale(found: dict[str, Any]) -> bool:
    """Says whether whoever made a claim is gone, or is this process."""
    if time.time() - found["renewed"] > STALE:
        return True
    if found["host"] != socket.gethostname():
        return False
    if found["pid"] == os.getpid():
        return True
    try:
        os.kill(found["pid"], 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _in_use(folder: str, found: dict[str, Any]) -> UserError:
    now = time.time()
    return UserError(
        f"The process {found['pid']} on {found['host']} works on {folder}, since {_age(now - found['since'])}.",
        f"A run is trained by one process at a time; this one gave a sign {_age(now - found['renewed'])} ago.",
        f"Wait until it ends, or stop it; {STALE:.0f} s after its last sign the run is free.",
    )


def _age(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
