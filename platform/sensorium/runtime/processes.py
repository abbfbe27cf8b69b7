"""Processes that belong together by a mark in their environment: found, asked to end, killed."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet

import psutil

from sensorium.errors import SensoriumError

PATIENCE = 10.0
"""Seconds after which a process that was killed should be gone."""


def marked(variable: str, mark: str, recorded: AbstractSet[tuple[int, float]], whole: bool) -> list[psutil.Process]:
    """Returns the live processes that carry a mark, and their descendants.

    Args:
        variable: The environment variable that holds marks.
        mark: The mark.
        recorded: Number and time of creation (s) of processes that belong to it whatever they carry.
        whole: Whether the mark is a whole one, and not only how it begins.
    """
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        try:
            if not runs(process):
                continue
            given = process.environ().get(variable, "")
            belongs = given == mark if whole else given.startswith(mark)
            if belongs or (process.pid, process.create_time()) in recorded:
                found[process.pid] = process
                found |= {child.pid: child for child in process.children(recursive=True)}
        except psutil.Error:  # somebody else's, or gone
            continue
    return [process for process in found.values() if runs(process) and process.pid != os.getpid()]


def runs(process: psutil.Process) -> bool:
    """Says whether a process does anything yet; one that has ended may wait for its parent to take note."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def end(processes: Sequence[psutil.Process], roots: AbstractSet[int], patience: float) -> None:
    """Asks processes to end, those that descend from some root, and waits for all.

    Args:
        processes: To wait for.
        roots: Numbers of the processes that are asked with all of their descendants.
        patience: How long to wait (s).
    """
    for process in processes:
        try:
            if roots & {process.pid, *(parent.pid for parent in process.parents())}:
                process.terminate()
        except psutil.Error:  # gone
            continue
    await_end(processes, patience)


def await_end(processes: Sequence[psutil.Process], patience: float) -> None:
    """Returns when all have ended, or after some seconds."""
    late = time.monotonic() + patience
    while time.monotonic() < late and any(runs(process) for process in processes):
        time.sleep(0.1)


def kill(find: Callable[[], list[psutil.Process]]) -> None:
    """Kills what is found until nothing is: a process may start another before it dies.

    Raises:
        SensoriumError: Something does not go.
    """
    late = time.monotonic() + PATIENCE
    while running := find():
        if time.monotonic() > late:
            raise SensoriumError(f"Processes {[process.pid for process in running]} cannot be ended.")
        for process in running:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        await_end(running, 1.0)
