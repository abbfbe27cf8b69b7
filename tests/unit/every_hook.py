"""A plugin that has every hook, as a third party would write it: `plugins: [every_hook]` loads it.

Its components are the smallest that work. Its events are written down in `CALLS`, and a run is
interrupted at the step `stop_at`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sensorium import (
    Batch,
    Dataset,
    Decoder,
    Encoder,
    Evaluation,
    Features,
    Fusion,
    Loss,
    Metric,
    Modality,
    Outcome,
    Rows,
    Run,
    Step,
    Task,
    hookimpl,
)
from sensorium.builtin.modalities.vector import Vector

CALLS: list[tuple[str, dict[str, Any]]] = []
stop_at: int | None = None


class Doubled(Vector):
    """A vector times two."""

    def transform(self, value: Tensor, random: torch.Generator | None) -> Tensor:
        return 2 * super().transform(value, random)


class Identity(Encoder):
    """What it is given."""

    takes = ("vector",)

    def __init__(self, config: Encoder.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim = int(modality.shape[0] or 0)

    def forward(self, batch: Tensor) -> Features:
        return Features(batch)


class Sum(Fusion):
    """The sum of all fields."""

    def __init__(self, config: Fusion.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.dims = {"joint": next(iter(dims.values()))}

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        return {"joint": Features(torch.stack([each.pooled for each in features.values()]).sum(0))}


class Linear(Decoder):
    """A linear map to a vector."""

    def __init__(self, config: Decoder.Config, dim: int, modality: Modality) -> None:
        super().__init__(config, dim, modality)
        self.map = nn.Linear(dim, int(modality.shape[0] or 0))

    def forward(self, features: Features) -> Tensor:
        return self.map(features.pooled)


class Square(Loss):
    """The squared error."""

    form: ClassVar[str] = "vectors"
    unit: ClassVar[str] = "squared units of the target"

    def forward(self, found: Tensor, right: Tensor) -> Tensor:
        return (found - right).square().mean(1)


class Line(Dataset):
    """Points on the line y = 2 x + z."""

    fields: ClassVar[dict[str, str]] = {"x": "vector", "y": "vector", "z": "vector"}

    def open(self, split: str) -> list[dict[str, Any]]:
        numbers = range(16 if split == "train" else 4)
        return [{"id": f"{split}/{i}", "x": [i / 8], "y": [i / 4 + 1], "z": [1.0]} for i in numbers]


class Worst(Metric):
    """The largest error."""

    needs = ("found", "right")

    def __call__(self, rows: Rows) -> dict[str, float]:
        return {"worst": float((rows["found"] - rows["right"]).abs().max())}


class Lines(Task):
    """Two vectors to one, through a part of each kind."""

    experiment: ClassVar[Mapping[str, Any]] = {
        "plugins": ["every_hook"],
        "dataset": "line",
        "modalities": {
            "x": {"name": "doubled", "size": 1},
            "y": {"name": "vector", "size": 1},
            "z": {"name": "vector", "size": 1},
        },
        "model": {
            "encoder": "unchanged",
            "fusion": "total",
            "decoder": "linear",
            "loss": "square",
            "metrics": ["worst"],
        },
        "training": {"epochs": 4, "global_batch": 8, "checkpoints": {"steps": 2}},
        "run": {"threads": 1},
    }

    class Config(Task.Config):
        """The parts."""

        encoder: Encoder.Config
        """Of both inputs."""
        fusion: Fusion.Config
        """What joins them."""
        decoder: Decoder.Config
        """What gives the answer."""
        loss: Loss.Config
        """Of the answer."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.inputs = {name: modalities[name] for name in ("x", "z")}
        self.outputs = {"y": modalities["y"]}
        self.encoders = nn.ModuleDict({name: config.encoder.build(modalities[name]) for name in self.inputs})
        self.fusion = config.fusion.build({name: encoder.dim for name, encoder in self.encoders.items()})
        self.decoder = config.decoder.build(self.fusion.dims["joint"], modalities["y"])
        self.loss = config.loss.build()

    def forward(self, batch: Batch) -> Tensor:
        features = {name: encoder(batch[name]) for name, encoder in self.encoders.items()}
        return self.decoder(self.fusion(features)["joint"])

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        return {"square": self.loss(outputs, batch["y"])}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        return {"found": outputs, "right": batch["y"]}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        return {"y": self(batch)}


@hookimpl
def sensorium_modalities() -> dict[str, str]:
    """A vector that is doubled."""
    return {"doubled": "every_hook:Doubled"}


@hookimpl
def sensorium_encoders() -> dict[str, str]:
    """No change at all."""
    return {"unchanged": "every_hook:Identity"}


@hookimpl
def sensorium_fusions() -> dict[str, type[Fusion]]:
    """A sum."""
    return {"total": Sum}


@hookimpl
def sensorium_decoders() -> dict[str, type[Decoder]]:
    """A linear map."""
    return {"linear": Linear}


@hookimpl
def sensorium_losses() -> dict[str, type[Loss]]:
    """Squared errors."""
    return {"square": Square}


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """A line."""
    return {"line": Line}


@hookimpl
def sensorium_metrics() -> dict[str, type[Metric]]:
    """The worst case."""
    return {"worst": Worst}


@hookimpl
def sensorium_tasks() -> dict[str, str]:
    """A line."""
    return {"lines": "every_hook:Lines"}


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Written down."""
    CALLS.append(("sensorium_run_started", {"run": run}))


@hookimpl
def sensorium_step_finished(run: Run, step: Step) -> None:
    """Written down; interrupts the run where it was told to."""
    CALLS.append(("sensorium_step_finished", {"run": run, "step": step}))
    if step.number == stop_at:
        raise ConnectionError("the plugin was told to fail")


@hookimpl
def sensorium_evaluated(run: Run, evaluation: Evaluation) -> None:
    """Written down."""
    CALLS.append(("sensorium_evaluated", {"run": run, "evaluation": evaluation}))


@hookimpl
def sensorium_checkpoint_begun(run: Run, step: int) -> None:
    """Written down."""
    CALLS.append(("sensorium_checkpoint_begun", {"run": run, "step": step}))


@hookimpl
def sensorium_checkpoint_saved(run: Run, checkpoint: str, step: int) -> None:
    """Written down."""
    CALLS.append(("sensorium_checkpoint_saved", {"run": run, "checkpoint": checkpoint, "step": step}))


@hookimpl
def sensorium_run_finished(run: Run, outcome: Outcome) -> None:
    """Written down."""
    CALLS.append(("sensorium_run_finished", {"run": run, "outcome": outcome}))
