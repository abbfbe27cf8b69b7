"""Runs a function in fresh processes, alone or on several that are joined by gloo."""

import pickle
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from multiprocessing.connection import Connection
from typing import Any

from forked import context, started

SECONDS = 60
"""Time that a process, or a collective call, may take."""


def together(workers: int, function: Callable[..., Any], *args: Any, seconds: float = SECONDS) -> list[Any]:
    """Returns what the function returned on each of several workers that train together."""
    with tempfile.TemporaryDirectory() as folder:
        started = [_start(function, args, rank, workers, f"file://{folder}/store") for rank in range(workers)]
        try:
            answers = [_answer(pipe, seconds) for _, pipe in started]
        finally:
            for process, _ in started:
                process.kill()
                process.join()
    failures = [error for error, _ in answers if error]
    assert not failures, "\n".join(failures)
    return [value for _, value in answers]


def dead(workers: int, function: Callable[..., Any], *args: Any) -> list[int | None]:
    """Returns the exit status of each of several workers that train together: minus the signal that ended it."""
    with tempfile.TemporaryDirectory() as folder:
        started = [_start(function, args, rank, workers, f"file://{folder}/store") for rank in range(workers)]
        for process, _ in started:
            process.join(SECONDS)
            process.kill()
    return [process.exitcode for process, _ in started]


def alone(function: Callable[..., Any], *args: Any) -> int:
    """Returns the exit status of a process that ran the function: minus the signal that ended it."""
    process, pipe = _start(function, args, 0, 1, "")
    process.join(SECONDS)
    if process.exitcode == 0:
        error, _ = _answer(pipe)
        assert not error, error
    assert process.exitcode is not None, "it did not end"
    return process.exitcode


def _start(function: Callable[..., Any], args: Any, rank: int, workers: int, store: str) -> Any:
    ours, theirs = context.Pipe(duplex=False)
    process = started(_work, theirs, function, args, rank, workers, store)
    theirs.close()
    return process, ours


def _answer(pipe: Connection, seconds: float = SECONDS) -> tuple[str, Any]:
    try:
        return pickle.loads(pipe.recv_bytes()) if pipe.poll(seconds) else ("it did not answer", None)
    except EOFError:
        return "it died", None


def _work(pipe: Connection, function: Callable[..., Any], args: Any, rank: int, workers: int, store: str) -> None:
    import torch
    import torch.distributed as dist

    torch.set_num_threads(1)
    try:
        if workers > 1:
            wait = timedelta(seconds=SECONDS / 2)
            dist.init_process_group("gloo", init_method=store, rank=rank, world_size=workers, timeout=wait)
        answer = ("", function(*args))
        if workers > 1:
            dist.barrier()
    except Exception:  # noqa: BLE001 (told to whoever asked)
        answer = (traceback.format_exc(), None)
    pipe.send_bytes(pickle.dumps(answer))
