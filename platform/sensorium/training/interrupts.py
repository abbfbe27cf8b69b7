"""Ctrl-C and SIGTERM: one kind of interrupt, so that a command ends in one way."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def terminable() -> Iterator[None]:
    """Has SIGTERM interrupt what is done meanwhile, as Ctrl-C does; Python can do so in the main thread alone.

    Raises:
        SystemExit: SIGTERM has come; with the status by which the shell tells so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, _interrupt)
    try:
        yield
    except Terminated as cause:
        raise SystemExit(128 + signal.SIGTERM) from cause
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def as_interrupts() -> Iterator[None]:
    """Has what a library makes of Ctrl-C and SIGTERM, the end of the process, be an interrupt again.

    Raises:
        KeyboardInterrupt: It wanted to end the process.
    """
    before = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as cause:
        raise (Terminated if cause.code in (signal.SIGTERM, 128 + signal.SIGTERM) else KeyboardInterrupt) from cause
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, before)


def _interrupt(number: int, frame: FrameType | None) -> NoReturn:
    raise Terminated
