"""What an experiment says: task, data, modalities, model, and how it is trained, measured, executed and recorded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

from sensorium.contracts.component import Config
from sensorium.contracts.dataset import Dataset
from sensorium.contracts.modality import Modality
from sensorium.contracts.task import Task
from sensorium.engine.settings import Evaluation, Training
from sensorium.experiment.parsing import dump
from sensorium.experiment.search import Search
from sensorium.plugins import Plugins


class Tracking(Config):
    """Where the run is recorded."""

    uri: str | None = None
    """MLflow store or server; None takes MLFLOW_TRACKING_URI, or mlflow.db in the working folder."""
    experiment: str = "sensorium"
    """MLflow experiment."""
    register: str | None = None
    """Name under which the model is registered; None registers none."""
    every: int = 1
    """Optimizer steps between recorded ones."""
    system: bool = True
    """Whether processor, memory and GPU use are recorded."""

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise ValueError("experiment is the name of an MLflow experiment, not empty")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")
        name = self.register
        if name is not None and (not name.strip() or "/" in name or ":" in name or name in (".", "..")):
            raise ValueError(f"register is {name!r}; a registered model has a name without / and :")


class Run(Config):
    """Where and with what the run is executed."""

    seed: int = 0
    """Seed of order, initial weights and augmentation."""
    workers: int | tuple[int, int] = 1
    """Number of training processes; [least, most] lets Ray go on with fewer and grow again."""
    resources: dict[str, float] = field(default_factory=dict)
    """Resources of each worker, as Ray names them: CPU (cores), GPU (devices), …"""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Whether each worker holds the whole model, or a shard of it."""
    threads: int = 4
    """Threads that read and decode samples, for each worker; 0 reads between the steps, on no core of its own."""
    storage: str = "runs"
    """Folder, or fsspec URI, below which runs are kept."""
    max_failures: int = 3
    """Restarts from the last checkpoint after workers or nodes were lost."""
    timeout: float = 60.0
    """Seconds after which a worker that answers nothing, or a collective, counts as hung."""

    def __post_init__(self) -> None:
        least, most = (self.workers, self.workers) if isinstance(self.workers, int) else self.workers
        if not 1 <= least <= most:
            raise ValueError("workers must be at least 1, and the least no more than the most")
        if self.threads < 0 or self.timeout <= 0:
            raise ValueError("threads must not be negative, and timeout above 0")


class Experiment(Config):
    """Everything that decides a run."""

    task: str
    """Name of the task."""
    dataset: Dataset.Config
    """Where samples come from."""
    modalities: dict[str, Modality.Config]
    """Field of the samples -> the kind of data it is."""
    shared: dict[str, str] = field(default_factory=dict)
    """Field -> a field of `modalities` whose modality reads it too: both learn, and use, one vocabulary."""
    model: Task.Config
    """The task's own options, with the parts it joins."""
    plugins: tuple[str, ...] = ()
    """Modules to load that are not installed, as Python names them."""
    training: Training = Training()
    """How the model learns."""
    evaluation: Evaluation = Evaluation()
    """How the model is measured."""
    run: Run = Run()
    """Where and with what the run is executed."""
    tracking: Tracking = Tracking()
    """Where the run is recorded."""
    search: Search = Search()
    """What `sensorium tune` tries; a single training takes no notice of it."""


@dataclass(frozen=True)
class Loaded:
    """An experiment with the plugins that it was checked against."""

    experiment: Experiment
    plugins: Plugins

    def plain(self) -> dict[str, Any]:
        """Returns the experiment as what YAML and JSON can hold, with nothing left to defaults."""
        plain: dict[str, Any] = dump(self.experiment, self.plugins)
        plain["model"].pop("name", None)
        return plain
