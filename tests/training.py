"""Trains toys in the process that asks."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sensorium.assembly.build import Assembly, assemble
from sensorium.assembly.loading import load
from sensorium.contracts import workers
from sensorium.contracts.run import Evaluation, Outcome, Run, Step
from sensorium.engine.state import weights
from sensorium.hookspecs import hookimpl
from sensorium.plugins import Plugins
from sensorium.training.execution import execute


def build(task: str, *overrides: str) -> Assembly:
    """Returns a toy with its data, ready to train."""
    return assemble(load(task, overrides, Plugins(("toys", "contract_toys"))))


@dataclass
class Trained:
    """A training that is over, and what its events told."""

    assembly: Assembly
    outcome: Outcome
    steps: list[Step]
    evaluations: list[Evaluation]
    checkpoints: list[int]

    def weights(self) -> dict[str, Any]:
        """Returns name -> whole tensor."""
        return {name: tensor.clone() for name, tensor in weights(self.assembly.task).items()}


def train(
    task: str, folder: Path | str, *overrides: str, events: Callable[[Assembly], object] | None = None
) -> Trained:
    """Trains a toy, or goes on with it where the folder holds a checkpoint.

    Args:
        task: Its name.
        folder: The run's, or its URI.
        overrides: Of the experiment.
        events: Makes a plugin that hears the run's events.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    assembly = build(task, *overrides)
    trained = Trained(assembly, Outcome("never"), [], [], [])
    for plugin in [_Listener(trained)] + ([events(assembly)] if events else []):
        assembly.loaded.plugins.manager.register(plugin)
    seed = assembly.loaded.experiment.run.seed
    run = Run(task, str(folder), assembly.loaded.plain(), seed, workers.rank(), workers.size())
    trained.outcome = execute(assembly, run)
    return trained


class _Listener:
    def __init__(self, trained: Trained) -> None:
        self.trained = trained

    @hookimpl
    def sensorium_step_finished(self, step: Step) -> None:
        self.trained.steps.append(step)

    @hookimpl
    def sensorium_evaluated(self, evaluation: Evaluation) -> None:
        self.trained.evaluations.append(evaluation)

    @hookimpl
    def sensorium_checkpoint_saved(self, step: int) -> None:
        self.trained.checkpoints.append(step)
