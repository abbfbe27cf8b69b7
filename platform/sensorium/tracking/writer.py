"""Writes one run's record, told what by lines of JSON on standard input; keeps trying while the store is away.

Started by the recorder. When its input ends without a farewell, the training was killed: what has
come is written, and the record stays open for the training that goes on.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import IO, Any, TypeVar

from sensorium.contracts.run import Run
from sensorium.errors import SensoriumError
from sensorium.ops.plots import figure, png
from sensorium.redaction import redacted
from sensorium.tracking import kept, records
from sensorium.tracking.lock import alone
from sensorium.tracking.recorder import DONE

BATCH = 900
"""Points of one request; the server takes 1,000."""
SAMPLING = 5.0
"""Seconds between samples of what the machine does."""
PATIENCE = 300.0
"""Seconds for which a store that is away is waited for after the last message."""

Value = TypeVar("Value")


class Writer:
    """Takes messages in a thread, so that the training never waits, and writes them in order."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.arrived = threading.Condition()
        self.ended: float | None = None
        self.written: dict[str, list[tuple[int, float]]] = {}
        self.last: dict[str, int] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def write(self) -> None:
        """Writes until the input ends.

        Raises:
            Exception: What MLflow raised last, when the store stayed away or refused.
        """
        run = Run(**self._next(1)[0]["run"])
        with alone(run.tracking["uri"]):  # two who make the tables of a new store at once spoil them
            record = self._persist(lambda: records.open_record(run))
        self.written = self._persist(lambda: records.histories(record))
        # Steps since the last checkpoint come once more after a restart, with the same values.
        self.last = {name: points[-1][0] for name, points in self.written.items()}
        for step, points in self._persist(lambda: kept.kept(run.folder, run.resumed_from)).items():
            self._write_points(record, [point for point in points if self._is_new(point)])
            self._persist(lambda s=step: kept.drop(run.folder, s))  # type: ignore[misc]
        if run.tracking.get("system"):
            sample = records.system_metrics(record)
            step = 1 + max((last for name, last in self.last.items() if name.startswith("system/")), default=-1)
            self._sample(sample, step)  # so that a run of a second has one as well
            threading.Thread(target=self._watch, args=(sample, step + 1), daemon=True).start()
        while messages := self._next():
            points = [point for message in messages for point in message.get("points", ()) if self._is_new(point)]
            self._write_points(record, points)
            for message in messages:
                if "picture" in message:
                    png = base64.b64decode(message["png"])
                    self._persist(lambda m=message, p=png: records.add_plot(record, m["picture"], p))  # type: ignore[misc]
                if "kept" in message:
                    self._persist(lambda m=message: kept.drop(run.folder, m["kept"]))  # type: ignore[misc]
                if "finish" in message:
                    self._end(record, message)

    def _is_new(self, point: Sequence[Any]) -> bool:
        name, _, _, step = point
        return bool(step > self.last.get(name, -1))

    def _write_points(self, record: records.Record, points: Sequence[Any]) -> None:
        for start in range(0, len(points), BATCH):
            part = points[start : start + BATCH]
            self._persist(lambda part=part: records.add_metrics(record, part))  # type: ignore[misc]
        for name, value, _, step in points:
            self.written.setdefault(name, []).append((step, value))

    def _end(self, record: records.Record, message: Mapping[str, Any]) -> None:
        losses = {name: points for name, points in self.written.items() if name.startswith("train/")}
        if losses:
            self._persist(lambda: records.add_plot(record, "plots/loss.png", curves(losses)))
        status = {"finished": "FINISHED", "stopped": "KILLED"}.get(message["finish"], "FAILED")
        self._persist(lambda: records.end(record, status, message["error"]))

    def _sample(self, sample: Callable[[], dict[str, float]], step: int) -> None:
        """Adds what the machine does to the messages."""
        points = [(name, value, time.time(), step) for name, value in sample().items()]
        with self.arrived:
            self.messages.append({"points": points})
            self.arrived.notify_all()

    def _watch(self, sample: Callable[[], dict[str, float]], step: int) -> None:
        while True:
            with self.arrived:
                if self.arrived.wait_for(lambda: self.ended is not None, SAMPLING):
                    return
            self._sample(sample, step)
            step += 1

    def _listen(self) -> None:
        for line in sys.stdin:
            with self.arrived:
                self.messages.append(json.loads(line))
                self.arrived.notify_all()
        with self.arrived:
            self.ended = time.monotonic()
            self.arrived.notify_all()

    def _next(self, count: int | None = None) -> list[dict[str, Any]]:
        """Returns the messages that have come, all or the first few; none when the input has ended."""
        with self.arrived:
            self.arrived.wait_for(lambda: self.messages or self.ended is not None)
            taken = self.messages[:count]
            del self.messages[: len(taken)]
        return taken

    def _persist(self, call: Callable[[], Value]) -> Value:
        """Returns what a call returns, trying again while the store is away."""
        pause = 0.5
        while True:
            try:
                return call()
            except (*records.FAULTS, SensoriumError) as cause:  # the store's, or the storage's of what was kept
                late = self.ended is not None and time.monotonic() > self.ended + PATIENCE
                if late or records.lasting(cause):
                    raise
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


def curves(losses: Mapping[str, Sequence[tuple[int, float]]]) -> bytes:
    """Returns a PNG of the losses over the steps."""
    drawing = figure(6, 4)
    axes = drawing.add_subplot()
    for name, points in losses.items():
        axes.plot([step for step, _ in points], [value for _, value in points], label=name)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.legend()
    return png(drawing)


def main(turn: IO[str]) -> None:
    """Writes a record when it is its turn, and says on standard output how it ended.

    Args:
        turn: The run's lock, which the writer of the execution before may still hold.
    """
    try:
        writer = Writer()
        fcntl.flock(turn, fcntl.LOCK_EX)
        writer.write()
    except Exception as error:  # noqa: BLE001 (the recorder reports it)
        print(redacted(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"))
    else:
        with contextlib.suppress(BrokenPipeError):  # who asked does not wait for the answer
            print(DONE, flush=True)
