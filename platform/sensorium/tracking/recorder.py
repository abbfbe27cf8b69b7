"""One run's record, handed to a process of its own that writes it.

MLflow is pure Python: in a thread of the training process it would take Python's lock from it at
every operation, and a step of 20 ms was seen to take 2.5 s.
"""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sensorium.contracts.run import Evaluation, Outcome, Run, Step
from sensorium.errors import SensoriumError
from sensorium.tracking import kept
from sensorium.tracking.keys import key
from sensorium.tracking.lock import lock_file

if TYPE_CHECKING:
    from torch import Tensor

EVERY = 1.0
"""Seconds between messages to the writer."""
DONE = "done"
"""What the writer says when everything is written."""
_LAUNCH = "sensorium.tracking.launch"


def launched(run: str) -> subprocess.Popen[str]:
    """Starts the writer of a run, which reads what it is told on standard input; returns its launcher, which ended."""
    command = [sys.executable, "-m", _LAUNCH, str(lock_file(run))]
    launcher = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    launcher.wait()
    return launcher


class Recorder:
    """The record of one run, from the training process's side. Its methods cost microseconds."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.every = int(run.tracking.get("every", 1))
        self._points: list[tuple[str, Tensor | float, float, int]] = []
        self._since: list[kept.Point] = []  # the last checkpoint, handed on
        self._lock, self._handing, self._pipe = threading.Lock(), threading.Lock(), threading.Lock()
        self._closing = threading.Event()
        self._writer = launched(run.name)
        self._send({"run": asdict(run)})
        self._sender = threading.Thread(target=self._forward, name="tracking", daemon=True)
        self._sender.start()

    def step(self, step: Step) -> None:
        """Takes down the losses and learning rates of a step."""
        if step.number % self.every == 0:
            values: dict[str, Tensor | float] = {f"train/{name}": loss for name, loss in step.losses.items()}
            values |= {f"learning_rate/{name}": rate for name, rate in step.learning_rates.items()}
            self._take(values, step.number)

    def evaluation(self, evaluation: Evaluation) -> None:
        """Takes down the metrics and pictures of an evaluation."""
        self._take({f"{evaluation.split}/{name}": value for name, value in evaluation.metrics.items()}, evaluation.step)
        folder = f"plots/{evaluation.split}/step-{evaluation.step:08d}"
        for name, png in evaluation.plots.items():
            self._send({"picture": f"{folder}/{name}", "png": base64.b64encode(png).decode()})

    def flush(self) -> None:
        """Hands on what was taken down until now; it outlives this process."""
        with self._handing:  # what another thread has taken counts when it is handed on
            with self._lock:
                taken, self._points = self._points, []
            if taken:
                points = [(name, float(value), when, step) for name, value, when, step in taken]
                self._since += points
                self._send({"points": points})

    def keep(self, step: int) -> None:
        """Hands on what was taken down until a checkpoint, and keeps it on storage until it is written."""
        self.flush()
        with self._handing:
            points, self._since = self._since, []
        if points:
            kept.keep(self.run.folder, step, points)
            self._send({"kept": step})

    def finish(self, outcome: Outcome) -> None:
        """Has what is left written, and ends the record.

        Raises:
            SensoriumError: The store did not come back in time; says what is missing.
        """
        self._closing.set()
        self._sender.join()
        self.flush()
        self._send({"finish": outcome.status, "error": outcome.error})
        assert self._writer.stdin is not None
        assert self._writer.stdout is not None
        with contextlib.suppress(BrokenPipeError):  # the writer gave up; it says why
            self._writer.stdin.close()
        if outcome.status != "finished":  # the writer goes on by itself, the news of the failure does not wait
            return
        said = self._writer.stdout.read().splitlines()[-1:]  # ends when the writer does
        if said != [DONE]:
            raise SensoriumError(
                f"The record of {self.run.name} is not complete: {said[0] if said else 'its writer was killed'}.",
                f"What is missing could not be written to {self.run.tracking['uri']}.",
                f"The model is whole, in {self.run.folder}/model, and so are its checkpoints.",
            )

    def _take(self, values: Mapping[str, Tensor | float], step: int) -> None:
        now = time.time()
        with self._lock:
            self._points += [(key(name), value, now, step) for name, value in values.items()]

    def _forward(self) -> None:
        while not self._closing.wait(EVERY):
            self.flush()

    def _send(self, message: Mapping[str, Any]) -> None:
        assert self._writer.stdin is not None
        line = json.dumps(message) + "\n"
        with self._pipe, contextlib.suppress(BrokenPipeError):  # the writer gave up; `finish` says why
            self._writer.stdin.write(line)
            self._writer.stdin.flush()
