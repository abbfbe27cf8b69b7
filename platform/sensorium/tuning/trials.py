"""The trials of a search and how each went, kept on storage so that a search can go on."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from sensorium.experiment.search import Search
from sensorium.training import runs

FILE = "trials.json"
HOPELESS = 3
"""Trials that fail before any ends well, after which the search gives up."""


@dataclass
class Trial:
    """One trial.

    Attributes:
        number: Its number, from 0.
        run: Name of its run.
        parameters: Option -> value.
        status: `waiting`, `running`, `finished`, `stopped` or `failed`.
        value: The last metric that it is judged by; None before the first.
        history: [seconds since the search began, epochs done, value] of each evaluation.
        seconds: Time that it took, its interruptions left out.
        metrics: All metrics of the last evaluation.
        model: Folder or URI of its model; empty unless it finished.
        copies: [epochs done, number of the trial] of each copy that it went on from.
        error: Sentence that says why it failed.
    """

    number: int
    run: str
    parameters: dict[str, Any]
    status: str = "waiting"
    value: float | None = None
    history: list[tuple[float, int, float]] = field(default_factory=list)
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    model: str = ""
    copies: list[tuple[int, int]] = field(default_factory=list)
    error: str = ""

    @property
    def epoch(self) -> int:
        """Epochs done at the last evaluation."""
        return self.history[-1][1] if self.history else 0


class Trials:
    """What is known of a search's trials. Each change is on storage before anything follows from it.

    Args:
        name: Name of the search.
        folder: Its folder or URI.
        search: What it tries.
        seed: Seed of what is drawn.
    """

    def __init__(self, name: str, folder: str, search: Search, seed: int) -> None:
        self.name, self.folder, self.search, self.seed = name, folder, search, seed
        self.all: dict[int, Trial] = {}
        self._before, self._begin = 0.0, time.monotonic()
        self._started: dict[int, float] = {}

    @classmethod
    def read(cls, name: str, folder: str, search: Search, seed: int) -> Trials:
        """Returns the trials as an interrupted search left them; those that did not end wait again."""
        trials = cls(name, folder, search, seed)
        try:
            text = runs.read(folder, FILE)
        except FileNotFoundError:
            return trials
        with runs.readable(f"{folder}/{FILE}", "Remove it to begin the search anew."):
            saved = json.loads(text)
            trials._before = float(saved["seconds"])
            for entry in saved["trials"]:
                trial = Trial(**entry)
                trial.history = [(when, epoch, value) for when, epoch, value in trial.history]
                trial.copies = [(epoch, donor) for epoch, donor in trial.copies]
                if trial.status in ("running", "failed"):
                    trial.status, trial.error = "waiting", ""
                trials.all[trial.number] = trial
        return trials

    @property
    def elapsed(self) -> float:
        """Seconds that the search took so far, its interruptions left out."""
        return self._before + time.monotonic() - self._begin

    def left(self) -> list[int]:
        """Returns the numbers of the trials that have not ended, or not begun."""
        return [n for n in range(self.search.trials) if n not in self.all or self.all[n].status == "waiting"]

    def draw(self, number: int) -> dict[str, Any]:
        """Returns the parameters of a trial: those that it began with, else drawn from the space."""
        known = self.all.get(number)
        return known.parameters if known else self.search.draw(self.seed, number)

    def run_name(self, number: int) -> str:
        """Returns the name of a trial's run, and of its folder below the search's."""
        return f"{self.name}-{number:03d}"

    def start(self, number: int, parameters: Mapping[str, Any]) -> Trial:
        """Notes that a trial begins or goes on, with these parameters."""
        trial = self.all.setdefault(number, Trial(number, self.run_name(number), {}))
        self._pause(trial)
        trial.parameters, trial.status = dict(parameters), "running"
        self._started[number] = time.monotonic()
        self._write()
        return trial

    def report(self, number: int, epoch: int, value: float, metrics: Mapping[str, float]) -> Trial:
        """Notes an evaluation."""
        trial = self.all[number]
        if not trial.history or epoch > trial.epoch:  # a restart goes through some epochs once more
            trial.history.append((round(self.elapsed, 3), epoch, value))
        trial.value, trial.metrics = value, dict(metrics)
        self._write()
        return trial

    def copy(self, number: int, epoch: int, donor: int) -> None:
        """Notes that a trial went on from a copy of another; it may be told more than once."""
        if (epoch, donor) not in self.all[number].copies:
            self.all[number].copies.append((epoch, donor))

    def end(self, number: int, status: str, model: str = "", error: str = "") -> Trial:
        """Notes that a trial is over."""
        trial = self.all[number]
        trial.status, trial.model, trial.error = status, model, error
        self._pause(trial)
        self._write()
        return trial

    def stop_rest(self) -> None:
        """Notes that trials which still run were stopped with the search."""
        for trial in list(self.all.values()):
            if trial.status == "running":
                self.end(trial.number, "stopped")

    @property
    def hopeless(self) -> bool:
        """Whether the first trials that ended failed, every one."""
        ended = [trial.status for trial in self.all.values() if trial.status in ("finished", "stopped", "failed")]
        return len(ended) >= HOPELESS and set(ended) == {"failed"}

    def best(self) -> Trial | None:
        """Returns the best of the trials that finished; of those that were stopped when none did."""
        for status in ("finished", "stopped"):
            values = {t.number: t.value for t in self.all.values() if t.status == status and t.value is not None}
            number = self.search.best(values)
            if number is not None:
                return self.all[number]
        return None

    def listed(self) -> list[Trial]:
        """Returns the trials in the order of their numbers."""
        return [self.all[number] for number in sorted(self.all)]

    def _pause(self, trial: Trial) -> None:
        begin = self._started.pop(trial.number, None)
        if begin is not None:
            trial.seconds = round(trial.seconds + time.monotonic() - begin, 3)

    def _write(self) -> None:
        content = {"seconds": round(self.elapsed, 3), "trials": [asdict(trial) for trial in self.listed()]}
        runs.write(self.folder, FILE, json.dumps(content, indent=1))
