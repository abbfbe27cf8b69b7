"""The writer of a run's record, forked from a process that has MLflow, with a database that has its tables.

Importing MLflow and making a database take seconds of the processor, each time that something is trained.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import IO, Any

import pytest

from forked import context, started
from sensorium.tracking.lock import lock_file, open_lock

CACHE = Path(__file__).parent.parent / ".pytest_cache" / "d"
SCHEME = "sqlite:///"


@contextmanager
def warm() -> Iterator[None]:
    """Has what is trained in this process recorded by forked writers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sensorium.tracking.recorder.launched", launched)
        yield


class Forked:
    """What the recorder needs to know of a writer."""

    def __init__(self, stdin: IO[str], stdout: IO[str]) -> None:
        self.stdin, self.stdout = stdin, stdout


def launched(run: str) -> Forked:
    """Starts the writer of a run."""
    theirs, stdin = context.Pipe(duplex=False)
    stdout, answer = context.Pipe(duplex=False)
    started(_write, theirs, answer, str(lock_file(run)), daemon=False)
    forked = Forked(os.fdopen(os.dup(stdin.fileno()), "w"), os.fdopen(os.dup(stdout.fileno())))
    for end in (theirs, answer, stdin, stdout):
        end.close()
    return forked


def _write(stdin: Connection, stdout: Connection, lock: str) -> None:
    from sensorium.tracking import records, writer

    sys.stdin, sys.stdout = os.fdopen(os.dup(stdin.fileno())), os.fdopen(os.dup(stdout.fileno()), "w")
    stdin.close()
    stdout.close()
    opened = records.open_record

    def furnished(run: Any) -> records.Record:
        _furnish(run.tracking["uri"])
        return opened(run)

    records.open_record = furnished
    writer.main(os.fdopen(open_lock(lock), "r+"))
    sys.stdout.close()


def _furnish(uri: str) -> None:
    """Lays a database with tables where none is yet."""
    import mlflow
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    place = Path(uri.removeprefix(SCHEME))
    if not uri.startswith(SCHEME) or place.exists():
        return
    empty = CACHE / f"mlflow-{mlflow.__version__}.db"
    CACHE.mkdir(parents=True, exist_ok=True)
    with empty.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not empty.exists():
            made = empty.with_suffix(".new")
            SqlAlchemyStore(f"{SCHEME}{made}", "mlruns").engine.dispose()
            made.rename(empty)
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(empty, place)
