"""A function in two fresh processes that train together, joined by gloo."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.conformance.finding import ContractError

SECONDS = 120
"""Time that both may take for one function."""


class _Pair:
    """Two processes that wait for functions to call; the second is forked from the first, so torch is imported once."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="sensorium-")
        self.folder = Path(self._folder.name)
        self._words = (self.folder / "stderr").open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(self.folder), json.dumps(sys.path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._words,
            text=True,
            start_new_session=True,
        )

    def call(self, function: str, argument: Any) -> dict[str, Tensor]:
        """Returns what a function returns on the first of both.

        Raises:
            ContractError: It failed on one of them, or did not end; says the last words.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        order = json.dumps({"function": function, "argument": argument, "path": sys.path})
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        said, until = "", time.monotonic() + SECONDS
        while not said.endswith("\n"):
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, until - time.monotonic()))
            if not ready:
                raise ContractError(f"Two workers did not end within {SECONDS} s.")
            read = os.read(self._process.stdout.fileno(), 1 << 16).decode()
            if not read:
                raise ContractError(f"On two workers: {self._last_words()}.")
            said += read
        failure = json.loads(said.splitlines()[0])
        if failure is not None:
            raise ContractError(f"On two workers: {failure}.")
        answer: dict[str, Tensor] = load_file(self.folder / "answer.safetensors")
        return answer

    def close(self) -> None:
        """Ends both."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the first one leads a group of its own, with the second
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._words):
            if stream is not None:
                stream.close()
        self._folder.cleanup()

    def _last_words(self) -> str:
        lines = (self.folder / "stderr").read_text().strip().splitlines()
        return lines[-1].rstrip(".") if lines else "a process died"


_kept: list[_Pair | None] = []
"""The pair of the block that is open, None before it is needed."""


@contextmanager
def kept() -> Iterator[None]:
    """Has the same two processes call all functions inside the block: to start them takes longer than most checks.

    A block inside another one shares its processes.
    """
    if _kept:
        yield
        return
    _kept.append(None)
    try:
        yield
    finally:
        pair = _kept.pop()
        if pair is not None:
            pair.close()


def on_two_workers(function: str, argument: Any) -> dict[str, Tensor]:
    """Returns the tensors that a function returns on the first of two workers.

    Args:
        function: `module:function`, from what JSON can hold to name -> tensor.
        argument: Its argument.

    Raises:
        ContractError: A process failed or did not end; says its last words.
    """
    if not _kept:
        with kept():
            return on_two_workers(function, argument)
    pair = _kept[-1] = _kept[-1] or _Pair()
    try:
        return pair.call(function, argument)
    except ContractError:  # one of both may still wait for the other
        pair.close()
        _kept[-1] = None
        raise


def difference(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> float:
    """Returns the largest difference of two sets of tensors, relative to the largest value of each."""
    return max(
        float((value - other[name]).abs().max() / value.abs().max().clamp_min(1e-6)) for name, value in one.items()
    )


def _serve(folder: Path) -> None:
    """Calls one function after the other, in both processes, until the first is told no more."""
    torch.set_num_threads(1)
    pipe, other = os.pipe()
    answers = os.dup(1)
    os.dup2(2, 1)  # what a plugin prints is not an answer
    rank = 0 if os.fork() else 1
    dist.init_process_group(
        "gloo",
        init_method=f"file://{folder}/store",
        rank=rank,
        world_size=2,
        timeout=timedelta(seconds=SECONDS),
    )
    os.close(pipe if rank == 0 else other)  # so that the second ends with the first
    orders = sys.stdin if rank == 0 else os.fdopen(pipe)
    for line in iter(orders.readline, ""):
        if rank == 0:
            os.write(other, line.encode())
        failure = _called(json.loads(line), folder if rank == 0 else None)
        if rank == 0 or failure is not None:
            os.write(answers, (json.dumps(failure) + "\n").encode())


def _called(order: Mapping[str, Any], folder: Path | None) -> str | None:
    """Calls a function, and writes what it returns where there is a folder; returns why it failed."""
    sys.path[:] = order["path"]
    module, _, name = order["function"].partition(":")
    try:
        answer = getattr(import_module(module), name)(order["argument"])
        dist.barrier()
    except Exception as cause:  # noqa: BLE001 (a stranger's component may raise anything)
        return f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}".rstrip(".")
    if folder is not None:
        save_file({key: value.contiguous() for key, value in answer.items()}, folder / "answer.safetensors")
    return None


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[2])
    _serve(Path(sys.argv[1]))
