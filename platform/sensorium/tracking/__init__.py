"""Records runs in MLflow, as a plugin of the run's events; rank 0 alone writes.

The only place that imports MLflow: in the process that writes, and when a record or model is read.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sensorium.hookspecs import hookimpl

if TYPE_CHECKING:
    from sensorium.contracts.run import Evaluation, Outcome, Run, Step
    from sensorium.tracking.recorder import Recorder

_recorders: dict[str, Recorder] = {}


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Begins the record, or resumes the one that has the run's name."""
    if run.rank == 0 and run.tracking:
        from sensorium.tracking.recorder import Recorder

        _recorders[run.name] = Recorder(run)


@hookimpl
def sensorium_step_finished(run: Run, step: Step) -> None:
    """Puts the losses and learning rates into the buffer."""
    if recorder := _recorders.get(run.name):
        recorder.step(step)


@hookimpl
def sensorium_evaluated(run: Run, evaluation: Evaluation) -> None:
    """Puts metrics and pictures into the buffer."""
    if recorder := _recorders.get(run.name):
        recorder.evaluation(evaluation)


@hookimpl
def sensorium_checkpoint_begun(run: Run, step: int) -> None:
    """Empties the buffer: a restart goes on from here, and a killed process hands on nothing."""
    if recorder := _recorders.get(run.name):
        recorder.keep(step)


@hookimpl
def sensorium_run_finished(run: Run, outcome: Outcome) -> None:
    """Writes what is left and ends the record."""
    if recorder := _recorders.pop(run.name, None):
        recorder.finish(outcome)
