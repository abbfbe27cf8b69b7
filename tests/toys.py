"""A plugin as a third party would write it: small tasks whose right answer is known.

`plugins: [toys]` loads it. Every part may be told to behave badly.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Dataset, Loss, Modality, Objective, Rows, Run, Stage, Step, Task, hookimpl
from sensorium.builtin.modalities.vector import Vector

DIM = 4


class Points(Dataset):
    """Points x, of which y is a linear function; z has nothing to do with it."""

    fields: ClassVar[dict[str, str]] = {"x": "vector", "y": "vector", "z": "vector"}
    splits = ("train", "validation", "test", "few")

    class Config(Dataset.Config):
        """Sizes, and what is wrong with some samples."""

        train: int = 32
        """Samples of the training split."""
        others: int = 10
        """Samples of the other splits."""
        huge: int | None = None
        """Index of a training sample whose y makes a squared error infinite."""
        broken: int | None = None
        """Index of a training sample whose x is not a vector."""

    config: Config

    def open(self, split: str) -> list[dict[str, Any]]:
        """Returns one split."""
        random = torch.Generator().manual_seed(self.splits.index(split))
        count = {"train": self.config.train, "few": 4}.get(split, self.config.others)
        x, z = torch.randn(2, count, DIM, generator=random)
        y = x @ torch.tensor([[1.0, -2.0, 0.5, 3.0]]).T + 1
        if split == "train" and self.config.huge is not None:
            y[self.config.huge] = 3e38
        columns = zip(x.tolist(), y.tolist(), z.tolist(), strict=True)
        samples = [{"id": f"{split}/{i}", "x": x, "y": y, "z": z} for i, (x, y, z) in enumerate(columns)]
        if split == "train" and self.config.broken is not None:
            samples[self.config.broken]["x"] = "oops"
        return samples


class Noisy(Vector):
    """A vector; noise is added as augmentation."""

    class Config(Vector.Config):
        """The noise."""

        sigma: float = 0.0
        """Standard deviation."""

    config: Config

    def transform(self, value: Tensor, random: torch.Generator | None) -> Tensor:
        """Returns the vector (D,), with noise in training."""
        return value if random is None else value + self.config.sigma * torch.randn(value.shape, generator=random)


def mlp(dropout: float = 0.0, out: int = 1, norm: bool = False) -> nn.Sequential:
    """Returns a small network."""
    norms = [nn.BatchNorm1d(8)] if norm else []
    # A bias before a norm has no gradient but noise.
    return nn.Sequential(nn.Linear(DIM, 8, bias=not norm), *norms, nn.Tanh(), nn.Dropout(dropout), nn.Linear(8, out))


class Toy(Task):
    """What the toys share: x and z come in, y goes out, the figure is the mean squared error."""

    experiment: ClassVar[Mapping[str, Any]] = {
        "plugins": ["toys"],
        "dataset": "toy_points",
        "modalities": {
            "x": {"name": "noisy", "size": DIM},
            "y": {"name": "vector", "size": 1},
            "z": {"name": "vector", "size": DIM},
        },
        "training": {"epochs": 2, "global_batch": 8, "schedule": {"name": "constant", "warmup": 0.0}},
        "run": {"threads": 1},
    }

    def __init__(self, config: Task.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.inputs = {name: modalities[name] for name in ("x", "z")}
        self.outputs = {"y": modalities["y"]}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns predictions and targets."""
        return {"found": outputs, "right": batch["y"]}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the error, and the number of samples."""
        if not rows["found"].isfinite().all():
            raise ValueError("the figures cannot be computed of NaN")
        return {"error": F.mse_loss(rows["found"], rows["right"]).item(), "samples": float(len(rows["id"]))}


class Regression(Toy):
    """Learns y."""

    class Config(Toy.Config):
        """Details."""

        dropout: float = 0.0
        """Share of hidden values that are dropped."""
        mean: bool = False
        """Whether the loss is a mean rather than one of each sample."""
        spare: bool = False
        """Whether there are parameters that nothing uses."""
        norm: bool = False
        """Whether there is batch normalisation."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.body = mlp(config.dropout, norm=config.norm)
        if config.spare:
            self.spare = nn.Linear(3, 3)

    def forward(self, batch: Batch) -> Tensor:
        """Returns y (B, 1)."""
        return self.body(batch["x"])

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns squared and absolute errors."""
        off = (outputs - batch["y"])[:, 0]
        return {"square": off.square().mean() if self.config.mean else off.square(), "off": off.abs()}


class Pairs(Toy):
    """Brings x and z into one space, by a loss that looks across samples."""

    class Config(Toy.Config):
        """The loss."""

        loss: Loss.Config
        """Over pairs."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.left, self.right = mlp(out=3), mlp(out=3)
        self.loss = config.loss.build()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns unit-length embeddings (B, D)."""
        return {"x": F.normalize(self.left(batch["x"])), "z": F.normalize(self.right(batch["z"]))}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over pairs."""
        return {"pairs": self.loss(outputs["x"], outputs["z"], batch.groups)}

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns what lies where."""
        return {"found": outputs["x"], "right": outputs["z"]}


class Gan(Toy):
    """Two objectives that want opposite things."""

    def __init__(self, config: Toy.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.generator = nn.Linear(DIM, 1)
        self.discriminator = nn.Linear(1, 1)

    def stages(self) -> list[Stage]:
        """Returns the game."""
        game = [
            Objective("generate", ["generator"], self.forward, self.fooled),
            Objective("discriminate", ["discriminator"], self.forward, self.told_apart),
        ]
        return [Stage("game", game)]

    def forward(self, batch: Batch) -> Tensor:
        """Returns made y (B, 1)."""
        return self.generator(batch["x"])

    def fooled(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns how clearly what was made is told to be so."""
        return {"real": F.softplus(-self.discriminator(outputs))[:, 0]}

    def told_apart(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns how badly made and true ones are told apart; not detached, the engine must see to it."""
        true, made = self.discriminator(batch["y"]), self.discriminator(outputs)
        return {"true": F.softplus(-true)[:, 0], "made": F.softplus(made)[:, 0]}


class Distillation(Toy):
    """A teacher learns, then a student learns from the frozen teacher."""

    def __init__(self, config: Toy.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.teacher, self.student = mlp(0.5, norm=True), mlp(0.5)

    def stages(self) -> list[Stage]:
        """Returns the two stages."""
        teach = Objective("teach", ["teacher"], self.taught, self.right)
        distil = Objective("distil", ["student"], self.forward, self.alike)
        return [Stage("teacher", [teach]), Stage("student", [distil])]

    def taught(self, batch: Batch) -> Tensor:
        """Returns what the teacher says (B, 1)."""
        return self.teacher(batch["x"])

    def forward(self, batch: Batch) -> Tensor:
        """Returns what the student says (B, 1)."""
        return self.student(batch["x"])

    def right(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error."""
        return {"error": (outputs - batch["y"]).square()[:, 0]}

    def alike(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared difference from the teacher, through which gradient could flow."""
        return {"difference": (outputs - self.teacher(batch["x"])).square()[:, 0]}


class Pupil(Toy):
    """A student learns from a task within this one, which learns first or is trained already."""

    class Config(Toy.Config):
        """The teacher."""

        teacher: Task.Config
        """A task that finds y."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.teacher: Task = config.teacher.build(modalities)
        self.student = mlp()

    def stages(self) -> list[Stage]:
        """Returns the teacher's stage, where it has one, and the student's."""
        return [
            *self.earlier("teacher"),
            Stage("student", [Objective("distil", ["student"], self.forward, self.alike)]),
        ]

    def forward(self, batch: Batch) -> Tensor:
        """Returns what the student says (B, 1)."""
        return self.student(batch["x"])

    def alike(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared difference from the teacher."""
        return {"difference": (outputs - self.teacher(batch)).square()[:, 0]}


class Ids:
    """Writes down which samples each step used: a line for each step, at each worker."""

    @hookimpl
    def sensorium_step_finished(self, run: Run, step: Step) -> None:
        """Appends a line."""
        execution = [run.workers, run.resumed_from]
        record = {"step": step.number, "ids": step.ids, "rank": run.rank, "execution": execution, "at": time.time_ns()}
        with (Path(run.folder) / f"ids-{run.rank}.jsonl").open("a") as file:
            file.write(json.dumps(record) + "\n")


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """Points."""
    return {"toy_points": Points}


@hookimpl
def sensorium_modalities() -> dict[str, type[Modality]]:
    """Noisy vectors."""
    return {"noisy": Noisy}


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """The toys."""
    return {
        "toy_regression": Regression,
        "toy_pairs": Pairs,
        "toy_gan": Gan,
        "toy_distillation": Distillation,
        "toy_pupil": Pupil,
    }
