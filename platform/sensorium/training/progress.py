"""Shows how a run goes: a bar on a terminal, a line that changes in a notebook, plain lines elsewhere.

A plugin of the run's events.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sensorium.hookspecs import hookimpl

if TYPE_CHECKING:
    from sensorium.contracts.run import Evaluation, Outcome, Run, Step

SECONDS = 5.0
"""Least time between two plain lines."""
COLUMNS = 80
"""Widest line of metrics."""


class _Bar:
    """A bar on a terminal."""

    def __init__(self, run: Run) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
        self.bar = Progress(*columns, TimeRemainingColumn(), transient=True)
        self.bar.start()
        self.task = self.bar.add_task("training", total=run.steps, completed=run.resumed_from)

    def update(self, step: int, text: str) -> None:
        self.bar.update(self.task, completed=step, description=text)

    def stop(self) -> None:
        self.bar.stop()


class _Line:
    """A line of a notebook's output that changes."""

    def __init__(self, run: Run) -> None:
        from IPython.display import display

        self.steps = run.steps
        self.handle = display({"text/plain": ""}, raw=True, display_id=True)

    def update(self, step: int, text: str) -> None:
        filled = 30 * step // max(1, self.steps)
        bar = "█" * filled + "░" * (30 - filled)
        self.handle.update({"text/plain": f"{bar} {step}/{self.steps}  {text}"}, raw=True)

    def stop(self) -> None:
        self.handle.update({"text/plain": ""}, raw=True)


@dataclass
class _Display:
    bar: _Bar | _Line | None
    shown: float = field(default_factory=time.monotonic)
    samples: int = 0


_displays: dict[str, _Display] = {}


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Begins the bar, or says in a line where the run stands."""
    if run.rank != 0:
        return
    resumed = f", resumed from step {run.resumed_from}" if run.resumed_from else ""
    _say(f"{run.name}: {run.steps} steps on {run.workers} worker{'s' * (run.workers > 1)}{resumed}")
    kind = _Line if _in_notebook() else _Bar if sys.stderr.isatty() else None
    _displays[run.name] = _Display(kind and kind(run))


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
        display.bar.update(step.number, text)
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
    """Prints a line; in a notebook as any other output, since standard error is red there."""
    print(text, file=sys.stdout if _in_notebook() else sys.stderr, flush=True)


def _in_notebook() -> bool:
    """Returns whether this process is a notebook's: IPython with a kernel that somebody's browser speaks to."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return hasattr(shell, "kernel")
