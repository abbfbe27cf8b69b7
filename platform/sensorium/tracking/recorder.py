"""Writes one run's record in a thread, in batches, and goes on trying while the server is away."""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from torch import Tensor

from sensorium.contracts.run import Evaluation, Outcome, Run, Step
from sensorium.errors import SensoriumError
from sensorium.tracking import records

BATCH = 900
"""Metrics of one request; the server takes 1,000."""
EVERY = 1.0
"""Seconds between requests."""
PATIENCE = 300.0
"""Seconds after the run's end for which a server that is away is waited for."""

Value = TypeVar("Value")


class Recorder:
    """The record of one run. Its methods cost microseconds; a thread of its own does the writing.

    The thread waits for the first step before it imports MLflow, so as not to hold that up.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.every = int(run.tracking.get("every", 1))
        self._metrics: list[tuple[str, Tensor | float, float, int]] = []
        self._pictures: list[tuple[str, bytes]] = []
        self._losses: dict[str, list[tuple[int, float]]] = {}
        self._lock = threading.Lock()
        self._awake, self._closing = threading.Event(), threading.Event()
        self._deadline = float("inf")
        self._outcome: Outcome | None = None
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="tracking", daemon=True)
        self._thread.start()

    def step(self, step: Step) -> None:
        """Takes down the losses and learning rates of a step."""
        if step.number % self.every == 0:
            now = time.time()
            values: dict[str, Tensor | float] = {f"train/{name}": loss for name, loss in step.losses.items()}
            values |= {f"learning_rate/{name}": rate for name, rate in step.learning_rates.items()}
            self._take(values, now, step.number)
        self._awake.set()

    def evaluation(self, evaluation: Evaluation) -> None:
        """Takes down the figures and pictures of an evaluation."""
        values = {f"{evaluation.split}/{name}": value for name, value in evaluation.metrics.items()}
        self._take(values, time.time(), evaluation.step)
        with self._lock:
            folder = f"{evaluation.split}/step-{evaluation.step:08d}"
            self._pictures += [(f"{folder}/{name}", png) for name, png in evaluation.pictures.items()]

    def finish(self, outcome: Outcome) -> None:
        """Writes what is left and ends the record.

        Raises:
            SensoriumError: The server did not come back in time; says what is missing.
        """
        self._outcome = outcome
        self._deadline = time.monotonic() + PATIENCE
        self._closing.set()
        self._awake.set()
        self._thread.join()
        if self._failure is not None:
            raise SensoriumError(
                f"The record of {self.run.name} is not complete: {self._failure}.",
                f"{len(self._metrics)} points are missing in {self.run.tracking['uri']}.",
                "The model and its checkpoints are whole; see the run's folder.",
            ) from self._failure

    def _take(self, values: Mapping[str, Tensor | float], now: float, step: int) -> None:
        with self._lock:
            self._metrics += [(name, value, now, step) for name, value in values.items()]

    def _work(self) -> None:
        self._awake.wait()
        monitor: Any = None
        try:
            record = self._persist(lambda: records.open_record(self.run))
            if self.run.tracking.get("system"):
                monitor = records.watch_system(record)
            while not self._closing.wait(EVERY):
                self._flush(record)
            self._flush(record)
            if monitor is not None:
                monitor.finish()
            assert self._outcome is not None
            self._persist(lambda: records.add_picture(record, "loss.png", _curves(self._losses)))
            status = "FINISHED" if self._outcome.status == "finished" else "FAILED"
            self._persist(lambda: records.end(record, status, self._outcome.error if self._outcome else ""))
        except Exception as failure:  # noqa: BLE001 (handed to `finish`, which raises it)
            self._failure = failure

    def _flush(self, record: records.Record) -> None:
        while True:
            with self._lock:
                taken = self._metrics[:BATCH]
            if not taken:
                break
            points = [(name, float(value), when, step) for name, value, when, step in taken]
            self._persist(lambda points=points: records.add_metrics(record, points))  # type: ignore[misc]
            for name, value, _, step in points:
                if name.startswith("train/"):
                    self._losses.setdefault(name, []).append((step, value))
            with self._lock:
                del self._metrics[: len(taken)]
        while self._pictures:
            name, png = self._pictures[0]
            self._persist(lambda name=name, png=png: records.add_picture(record, name, png))  # type: ignore[misc]
            del self._pictures[0]

    def _persist(self, call: Callable[[], Value]) -> Value:
        """Returns what a call returns, trying again while the server is away."""
        pause, told = 0.5, False
        while True:
            try:
                return call()
            except records.FAULTS as cause:
                if time.monotonic() > self._deadline or records.lasting(cause):
                    raise
                if not told:
                    text = str(cause).splitlines()[0][:200]
                    print(f"MLflow at {self.run.tracking['uri']} does not answer, trying on: {text}", file=sys.stderr)
                    told = True
            self._closing.wait(pause) if not self._closing.is_set() else time.sleep(pause)
            pause = min(pause * 2, 5.0)


def _curves(losses: Mapping[str, list[tuple[int, float]]]) -> bytes:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 4), dpi=100, layout="constrained")
    axes = figure.add_subplot()
    for name, points in losses.items():
        axes.plot([step for step, _ in points], [value for _, value in points], label=name)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    if losses:
        axes.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
