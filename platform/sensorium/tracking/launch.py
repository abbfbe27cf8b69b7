"""Starts the writer of a run's record, as nobody's child and in its turn: `python -m sensorium.tracking.launch LOCK`.

Ray ends the children of a worker that it gives up, and what the worker had measured until then
would be lost. After a restart the writer of the execution before may still be at work; the lock
lets them write one after the other, in the order in which they were started.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sys

from sensorium.tracking.lock import open_lock


def main() -> None:
    """Takes the lock if it is free, leaves a grandchild of the caller, and has it write."""
    lock = os.fdopen(open_lock(sys.argv[1]), "r+")  # held until the writer ends
    with contextlib.suppress(BlockingIOError):  # the writer waits for it, once it listens
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if os.fork():
        os._exit(0)
    os.setsid()
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # so that nobody who reads what the training says waits for this
    # Importing MLflow alone takes seconds: it has what the training leaves, where cores are few.
    if hasattr(os, "SCHED_IDLE"):
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    else:
        os.nice(10)
    from sensorium.tracking import writer

    writer.main(lock)


if __name__ == "__main__":
    main()
