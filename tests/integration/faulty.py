"""A plugin for tests: a regression task that is quick to train, and faults at steps of choice.

The faults come from a JSON file that SENSORIUM_TEST_FAULTS names: `kill` and `stop` list [rank, step]
at which a worker sends itself SIGKILL or SIGSTOP, once each, `kill_writing` a step in the midst of
whose checkpoint the writer does; `ids` is a folder for the ids of each step, and for a line about
each worker of each execution; `poison` is the id of a sample whose loss is not finite; `slow` is a
pause after each step, in seconds, which may change while the training runs.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sensorium import Batch, Dataset, Modality, Rows, Run, Sample, Step, Task, hookimpl
from sensorium.builtin.modalities.vector import Vector
from sensorium.engine import checkpoint

SAMPLES = 96


def faults() -> dict[str, Any]:
    path = os.environ.get("SENSORIUM_TEST_FAULTS")
    return json.loads(Path(path).read_text()) if path else {}


class Points(Dataset):
    """Points with a linear target."""

    fields = {"x": "vector", "y": "vector"}  # noqa: RUF012

    def open(self, split: str) -> list[Sample]:
        random = torch.Generator().manual_seed(len(split))
        x = torch.randn(SAMPLES, 4, generator=random)
        y = x @ torch.tensor([1.0, -2.0, 3.0, 0.5])
        return [{"id": f"{split}{i}", "x": x[i].tolist(), "y": [float(y[i])]} for i in range(SAMPLES)]


class Line(Task):
    """Linear regression with dropout, so that the state of the random generators counts."""

    experiment = {  # noqa: RUF012
        "plugins": ["faulty"],
        "dataset": "points",
        "modalities": {"x": {"name": "vector", "size": 4}, "y": {"name": "vector", "size": 1}},
        "model": {},
        "training": {
            "epochs": 4,
            "global_batch": 12,
            "optimizer": {"name": "adamw", "lr": 0.05},
            "checkpoints": {"steps": 3},
        },
    }

    class Config(Task.Config):
        """How much is dropped."""

        dropout: float = 0.1
        """Share of the inputs that are dropped."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.layers = nn.Sequential(nn.Dropout(config.dropout), nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
        self.inputs = {"x": modalities["x"]}
        self.outputs = {"y": Vector(Vector.Config(size=1))}

    def forward(self, batch: Batch) -> Tensor:
        return self.layers(batch["x"])

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        squares = (outputs - batch["y"]).square().mean(1)
        poison = faults().get("poison")
        if poison in batch.ids:
            squares = squares + torch.tensor([float("nan") if i == poison else 0.0 for i in batch.ids])
        return {"square": squares}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        return {"error": (outputs - batch["y"]).abs().mean(1)}

    def metrics(self, rows: Rows) -> dict[str, float]:
        return {"error": float(rows["error"].mean()), "count": float(len(rows["error"]))}

    def predict(self, batch: Batch) -> dict[str, Any]:
        return {"y": self(batch)}


@hookimpl
def sensorium_datasets() -> dict[str, Any]:
    return {"points": Points}


@hookimpl
def sensorium_tasks() -> dict[str, Any]:
    return {"line": Line}


@hookimpl
def sensorium_run_started(run: Run) -> None:
    plan = faults()
    if "ids" in plan:
        worker = {"rank": run.rank, "workers": run.workers, "resumed_from": run.resumed_from}
        worker |= {"node": os.environ.get("SENSORIUM_NODE", "").rpartition("/")[2], "process": os.getpid()}
        with (Path(plan["ids"]) / "workers.jsonl").open("a") as file:
            file.write(json.dumps(worker) + "\n")
    if "kill_writing" in plan:
        write = checkpoint.save_file
        done = Path(plan["ids"]) / "killed-writing"

        def torn(tensors: Any, path: Path) -> None:
            write(tensors, path)
            if f"{plan['kill_writing']:08d}" in str(path) and not done.exists():
                done.touch()
                os.truncate(path, 40)
                os.kill(os.getpid(), signal.SIGKILL)

        checkpoint.save_file = torn


@hookimpl
def sensorium_step_finished(run: Run, step: Step) -> None:
    plan = faults()
    time.sleep(plan.get("slow", 0))
    if "ids" in plan:
        path = Path(plan["ids"]) / f"{step.number:04d}-{run.rank}of{run.workers}.json"
        path.write_text(json.dumps(list(step.ids)))
    for fault, past, sent in (("kill", "killed", signal.SIGKILL), ("stop", "stopped", signal.SIGSTOP)):
        for rank, number in plan.get(fault, ()):
            done = Path(plan["ids"]) / f"{past}-{rank}-{number}"
            if (run.rank, step.number) == (rank, number) and not done.exists():
                done.touch()
                os.kill(os.getpid(), sent)
