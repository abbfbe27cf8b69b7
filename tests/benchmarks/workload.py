"""What the benchmarks train: a plugin with a perceptron on seeded vectors, and a listener of its steps.

Two variables tell the listener where to write, also in Ray workers: SENSORIUM_BENCH_FIRST a file for
the moment of the first step, SENSORIUM_BENCH_STEPS one for the moments of all steps.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Dataset, Modality, Rows, Sample, Task, hookimpl
from sensorium.contracts.run import Outcome, Run, Step
from sensorium.experiment.reading import check
from sensorium.experiment.settings import Loaded
from sensorium.plugins import Plugins

SIZE = 128
CLASSES = 10
BATCH = 64


class Vectors:
    """A split of as many samples as wanted, which repeat after a while."""

    def __init__(self, samples: int) -> None:
        self.samples = samples
        random = torch.Generator().manual_seed(0)
        self.rows = torch.randn(4096, SIZE, generator=random)
        self.names = [str(number % CLASSES) for number in range(len(self.rows))]

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        row = index % len(self.rows)
        return {"id": str(index), "x": self.rows[row], "label": self.names[row]}


class BenchVectors(Dataset):
    """Seeded vectors."""

    fields: ClassVar[dict[str, str]] = {"x": "vector", "label": "label"}

    class Config(Dataset.Config):
        """How many."""

        samples: int
        """Samples of the training split."""

    config: Config

    def open(self, split: str) -> Vectors:
        """Returns a split."""
        return Vectors(self.config.samples if split == "train" else BATCH)


def network(width: int) -> nn.Sequential:
    """Returns the model that is trained by the engine and by hand."""
    sizes = [SIZE, *[width] * 6]
    hidden = [layer for a, b in pairwise(sizes) for layer in (nn.Linear(a, b), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(width, CLASSES))


class Bench(Task):
    """A perceptron."""

    class Config(Task.Config):
        """How wide."""

        width: int
        """Channels of the hidden layers."""

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.network = network(config.width)
        self.inputs, self.outputs = {"x": modalities["x"]}, {"label": modalities["label"]}

    def forward(self, batch: Batch) -> Tensor:
        """Returns logits (B, C)."""
        logits: Tensor = self.network(batch["x"])
        return logits

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the cross-entropy."""
        return {"nats": F.cross_entropy(outputs, batch["label"])}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns the logits."""
        return {"logits": outputs}


def experiment(width: int, steps: int) -> dict[str, Any]:
    """Returns an experiment of so many steps, without clipping, schedule or evaluations on the way."""
    return {
        "task": "bench",
        "plugins": ["workload"],
        "dataset": {"name": "bench_vectors", "samples": steps * BATCH},
        "modalities": {"x": {"name": "vector", "size": SIZE}, "label": {"name": "label"}},
        "model": {"width": width},
        "training": {
            "epochs": 1,
            "global_batch": BATCH,
            "clip_norm": None,
            "schedule": {"name": "constant", "warmup": 0.0},
        },
    }


def checked(data: Mapping[str, Any]) -> Loaded:
    """Returns an experiment, checked."""
    return check(data, Plugins(("workload",)))


# ---- the plugin --------------------------------------------------------------------------------

moments: list[float] = []
"""When each step of the run under way ended, in seconds of `time.perf_counter`."""


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """The seeded vectors."""
    return {"bench_vectors": BenchVectors}


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """The perceptron."""
    return {"bench": Bench}


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Forgets the run before."""
    moments.clear()


@hookimpl
def sensorium_step_finished(run: Run, step: Step) -> None:
    """Takes down when the step ended."""
    if not moments and run.rank == 0 and (path := os.environ.get("SENSORIUM_BENCH_FIRST")):
        Path(path).write_text(str(time.time()), encoding="utf-8")
    moments.append(time.perf_counter())


@hookimpl
def sensorium_run_finished(run: Run, outcome: Outcome) -> None:
    """Writes the moments of all steps."""
    if run.rank == 0 and (path := os.environ.get("SENSORIUM_BENCH_STEPS")):
        Path(path).write_text(json.dumps(moments), encoding="utf-8")
