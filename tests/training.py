"""Trains in the process that asks: toys, and what several tests start from."""

import fcntl
import hashlib
import importlib.util
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
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
from sensorium.training import runs
from sensorium.training.execution import execute

CACHE = Path(__file__).parent.parent / ".pytest_cache" / "d" / "trained"
"""Models that were trained once; `pytest --cache-clear` deletes them."""
WATCHED = ("sensorium_worlds", "sensorium.builtin", "sensorium.engine", "sensorium.ops", "sensorium.contracts")
"""Packages that any model depends on, beside that of its task."""


def trained(task: str, *overrides: str) -> str:
    """Returns the folder of a model for `weights=`, trained the first time that any test process asks for it.

    It is trained anew when an override, or a file of its plugin or of the packages in `WATCHED`, has changed.
    """
    asked = _digest(task, *overrides)
    place = CACHE / f"{task}-{asked}-{_digest(*_sources(f'sensorium_{task}', *WATCHED))}"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{task}-{asked}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            for older in CACHE.glob(f"{task}-{asked}-*"):
                shutil.rmtree(older)
            with tempfile.TemporaryDirectory(dir=CACHE) as folder:
                assembly = assemble(load(task, [*overrides, f"run.storage={json.dumps(folder)}"]))
                Path(execute(assembly, runs.create(assembly, {})).model).rename(place)
    return str(place)


def weights_of(task: str, *overrides: str) -> str:
    """Returns the value of an option of a task within a task, such as `model.clip`: a model that `trained` made."""
    return json.dumps({"weights": trained(task, *overrides)})


def _sources(*packages: str) -> Iterator[str]:
    """Yields name and text of each module and experiment file of some packages."""
    for package in packages:
        spec = importlib.util.find_spec(package)
        assert spec is not None
        for folder in spec.submodule_search_locations or ():
            for file in sorted(Path(folder).rglob("*")):
                if file.suffix in (".py", ".yaml"):
                    yield f"{package} {file.relative_to(folder)}"
                    yield file.read_text(encoding="utf-8")


def _digest(*texts: str) -> str:
    return hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]


def build(task: str, *overrides: str, learnt: Mapping[str, Any] | None = None) -> Assembly:
    """Returns a toy with its data, ready to train; `learnt` is what another process has learnt of them."""
    return assemble(load(task, overrides, Plugins(("toys", "contract_toys"))), learnt)


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
    task: str,
    folder: Path | str,
    *overrides: str,
    events: Callable[[Assembly], object] | None = None,
    learnt: Mapping[str, Any] | None = None,
) -> Trained:
    """Trains a toy, or goes on with it where the folder holds a checkpoint.

    Args:
        task: Its name.
        folder: The run's, or its URI.
        overrides: Of the experiment.
        events: Makes a plugin that hears the run's events.
        learnt: What another process has learnt of the data, as workers are told.
    """
    if isinstance(folder, Path):
        folder.mkdir(parents=True, exist_ok=True)
    assembly = build(task, *overrides, learnt=learnt)
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
