"""A training from its call to its result, for the command line and for Python."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any

from sensorium.api.options import modules, named, overrides, warn
from sensorium.api.report import ending
from sensorium.api.shown import Shown
from sensorium.errors import UserError
from sensorium.modules import advice, allow

if TYPE_CHECKING:
    from sensorium.api.model import Model
    from sensorium.training.session import Session


def train(
    task: str | None = None,
    options: Mapping[str, Any] | None = None,
    *,
    resume: str | None = None,
    address: str | None = None,
    plugins: Sequence[str] = (),
) -> Trained:
    """Trains a task, or the experiment in a file, and records the run.

    Args:
        task: A task's name, an experiment file, or `runs:/RUN_ID`, what a run's record says; None where one is resumed.
        options: `key.path` -> value, put over the experiment: `{"training.epochs": 5, "run.workers": 2}`.
        resume: A run to go on with instead, by name or folder.
        address: Ray cluster to join; without it two and more workers start a Ray of this machine's own.
        plugins: Modules, not installed, that a resumed run may load.

    Raises:
        UserError: Something does not fit; nothing has been started.
        SensoriumError: The training failed.
        KeyboardInterrupt: It was interrupted; how to resume is printed.
    """
    if (task is None) == (resume is None):
        raise UserError("Either a task or a run to resume was expected.", "", 'Such as train("clip").')
    task, resume, address = (
        each if each is None else named(name, each)
        for name, each in {"task": task, "resume": resume, "address": address}.items()
    )
    allow(modules(plugins))
    session, result = run(task, resume, overrides(options), address)
    return Trained(result, tuple(ending(result, session.assembly.task, advice(_modules(session)))))


@dataclass(frozen=True, repr=False)
class Trained(Shown):
    """A training that is done.

    Attributes:
        result: What `train --json` prints.
        text: The lines that the command line ends with.
    """

    result: Mapping[str, Any]
    text: tuple[str, ...]

    @property
    def name(self) -> str:
        """The run's name, by which it is resumed."""
        return str(self.result["run"])

    @property
    def metrics(self) -> Mapping[str, float]:
        """Name -> value of the last evaluation."""
        return dict(self.result["metrics"])

    @cached_property
    def model(self) -> Model:
        """The trained model, ready to be asked."""
        from sensorium.api.model import load

        return load(self.uri)

    @property
    def uri(self) -> str:
        """MODEL of the trained model, for every command: `models:/NAME/VERSION` where it is registered."""
        return str(self.result["model_uri"] or self.result["model"])

    @cached_property
    def plots(self) -> Mapping[str, bytes]:
        """Name -> PNG of what the run's record holds of its end."""
        from sensorium.tracking.models import plots

        return plots(self.result["tracking_uri"], self.result["run_id"])

    def lines(self) -> list[str]:
        """Returns the lines that the command line ends with."""
        return [*self.text]

    def media(self) -> Mapping[str, bytes]:
        """Returns the plots."""
        return self.plots


def run(
    task: str | None, resume: str | None, changes: Sequence[str], address: str | None
) -> tuple[Session, dict[str, Any]]:
    """Trains, and returns the session and what `train --json` prints.

    Args:
        task: A task's name, or an experiment file; None where a run is resumed.
        resume: The run that is resumed; None for a new one.
        changes: `key.path=value` texts.
        address: Ray cluster to join.

    Raises:
        UserError: Something does not fit; nothing has been started.
        SensoriumError: The training failed.
        KeyboardInterrupt: It was interrupted.
    """
    from sensorium.training.interrupts import terminable
    from sensorium.training.session import resumed, started

    with terminable():
        session = started(task, changes) if task is not None else resumed(str(resume), changes)
        _warn_skipped(session.assembly)
        resuming = f"sensorium train --resume {session.name}{advice(_modules(session))}"
        stopped = cache(lambda: warn(f"Stopped. Resume with `{resuming}`."))
        try:
            size = session.assembly.loaded.experiment.run.workers
            return session, session.train(_executor(size, address, stopped))
        except KeyboardInterrupt:
            stopped()  # once, as soon as possible
            raise


def _executor(
    workers: int | tuple[int, int], address: str | None, interrupted: Callable[[], None]
) -> Callable[..., Any]:
    """Returns what trains: this process where one worker is enough, else Ray, on this machine or at an address."""
    if address is None and workers == 1:
        from sensorium.training.execution import execute

        return execute
    from sensorium.runtime.train import train as on_ray

    return partial(on_ray, address=address, interrupted=interrupted)


def _modules(session: Session) -> Sequence[str]:
    return session.assembly.loaded.plugins.modules


def _warn_skipped(assembly: Any, shown: int = 5) -> None:
    for split, left_out in assembly.skipped.items():
        if left_out:
            total = len(assembly.splits[split]) + len(left_out)
            warn(f"{split}: {len(left_out)} of {total} samples are left out, as broken:")
            for _, why in left_out[:shown]:
                warn(f"  {why}")
            if len(left_out) > shown:
                warn(f"  and {len(left_out) - shown} more; all are listed in the run's run.json")
