"""Trains experiments in full, and prints one table of what they reached."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.conformance.tasks import Shuffled
from sensorium.training import runs
from sensorium.training.execution import execute


class Figures(Mapping[str, float]):
    """The figures of one training, which remember those that were looked at."""

    def __init__(self, title: str, seconds: float, values: Mapping[str, float]) -> None:
        self.title, self.seconds, self.values_, self.seen = title, seconds, dict(values), {}

    def __getitem__(self, name: str) -> float:
        self.seen[name] = self.values_[name]
        return self.values_[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_)

    def __len__(self) -> int:
        return len(self.values_)


REACHED: list[Figures] = []


@pytest.fixture
def reached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Figures]:
    """Trains a task's default experiment, or that of a file, with overrides; returns its figures on held-out data.

    `shuffled` names fields whose values are dealt out, together, to other training samples.
    """
    monkeypatch.chdir(tmp_path)

    def train(source: str | Path, *overrides: str, shuffled: Sequence[str] = ()) -> Figures:
        began = time.monotonic()
        assembly = assemble(load(str(source), overrides))
        if shuffled:
            assembly.splits["train"] = Shuffled(assembly.splits["train"], shuffled, together=True)
        metrics = execute(assembly, runs.create(assembly, {})).metrics
        title = " ".join([Path(source).stem, *overrides, *([f"({', '.join(shuffled)} shuffled)"] if shuffled else [])])
        REACHED.append(Figures(title, time.monotonic() - began, metrics))
        return REACHED[-1]

    return train


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the table."""
    if not REACHED:
        return
    terminalreporter.section("what was reached")
    for figures in REACHED:
        terminalreporter.write_line(f"{figures.title}  ({figures.seconds:.0f} s)")
        for name, value in figures.seen.items():
            terminalreporter.write_line(f"    {name:44} {value:.4f}")
