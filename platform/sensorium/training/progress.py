"""Shows how a run goes: a bar on a terminal, plain lines elsewhere. A plugin of the run's events."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sensorium.hookspecs import hookimpl

if TYPE_CHECKING:
    from sensorium.contracts.run import Evaluation, Outcome, Run, Step

SECONDS = 5.0
"""Least time between two plain lines."""
COLUMNS = 80
"""Widest line of metrics."""


@dataclass
class _Display:
    bar: Any = None
    task: Any = None
    shown: float = field(default_factory=time.monotonic)
    samples: int = 0


_displays: dict[str, _Display] = {}


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Begins the bar, or says in a line where the run stands."""
    if run.rank != 0:
        return
    display = _displays[run.name] = _Display()
    resumed = f", resumed from step {run.resumed_from}" if run.resumed_from else ""
    _say(f"{run.name}: {run.steps} steps on {run.workers} worker{'s' * (run.workers > 1)}{resumed}")
    if sys.stderr.isatty():
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        display.bar = Progress(*columns, TimeRemainingColumn(), transient=True)
        display.bar.start()
        display.task = display.bar.add_task("training", total=run.steps, completed=run.resumed_from)


@hookimpl
def sensorium_step_finished(run: Run, step: Step) -> None:
    """Moves the bar; every few seconds a line where there is none."""
    display = _displays.get(run.name)
    if display is None:
        return
    display.samples += step.samples
    now = time.monotonic()
    if now - display.shown < (0.2 if display.bar else SECONDS):
        return
    loss = sum(float(value) for value in step.losses.values())
    rate = display.samples / (now - display.shown)
    text = f"{step.stage} epoch {step.epoch + 1}  loss {loss:.4f}  {rate:.0f} samples/s"
    if display.bar:
        display.bar.update(display.task, completed=step.number, description=text)
    else:
        _say(f"step {step.number}/{run.steps}  {text}")
    display.shown, display.samples = now, 0


@hookimpl
def sensorium_evaluated(run: Run, evaluation: Evaluation) -> None:
    """Prints the metrics of an evaluation, in as few lines as they fit into."""
    if run.rank == 0:
        lines = [f"{evaluation.split} at step {evaluation.step}:"]
        for name, value in evaluation.metrics.items():
            if "." not in name:
                lines[-1:] = _joined(lines[-1], f"{name} {value:.4g}")
        _say("\n".join(lines))


@hookimpl
def sensorium_run_finished(run: Run, outcome: Outcome) -> None:
    """Ends the bar."""
    display = _displays.pop(run.name, None)
    if display is not None and display.bar:
        display.bar.stop()


def _joined(line: str, metric: str) -> list[str]:
    """Returns a line with one metric more, or two where it would get wider than a page."""
    return [f"{line}  {metric}"] if len(line) + len(metric) + 2 <= COLUMNS else [line, f"  {metric}"]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
