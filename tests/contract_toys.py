"""Toys that use what the contract carries beyond one loss a sample; `plugins: [contract_toys]` loads them.

Shapes: B samples, D = 4 numbers of x.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import (
    Alone,
    Batch,
    Dataset,
    Encoder,
    Evaluation,
    Exported,
    Features,
    Geometry,
    Metric,
    Modality,
    Objective,
    Padded,
    Rows,
    Stage,
    Task,
    hookimpl,
    minimise,
    workers,
)
from toys import DIM, mlp
from toys import Toy as Plain


class Toy(Plain):
    """A toy of this module."""

    experiment: ClassVar[Mapping[str, Any]] = {
        **Plain.experiment,
        "plugins": ["toys", "contract_toys"],
        "search": {"metric": "error", "mode": "min"},
    }
    probe: ClassVar[Mapping[str, Any]] = {
        "dataset.train": 200,
        "dataset.others": 50,
        "training.epochs": 10,
        "training.optimizer.lr": 0.03,
    }

    def found(self, outputs: Any) -> Tensor:
        """Returns y (B, 1) as it comes out."""
        y: Tensor = outputs
        return y

    def rows(self, outputs: Any, batch: Batch) -> Rows:
        """Returns what is compared, and what is answered."""
        return {"found": self.found(outputs), "right": batch["y"], "y": self.found(outputs)}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `y`."""
        return {"y": self.found(self(batch))}


class Spoken(Toy):
    """A mean over what counts inside the samples: one to four guesses of y, by the sign of z."""

    class Config(Toy.Config):
        """What is wrong with it."""

        uneven: bool = False
        """Whether the mean is over each sample's own, as it should not be."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.body = mlp(out=DIM)

    def forward(self, batch: Batch) -> Tensor:
        """Returns D guesses of y (B, D)."""
        return self.body(batch["x"])

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the mean squared error of the guesses where z is positive."""
        counts = batch["z"] > 0
        errors = (outputs - batch["y"]).square()
        if self.config.uneven:  # differs with the number of workers
            return {"spoken": errors[counts].sum() / counts.sum().clamp(min=1)}
        return {"spoken": workers.mean_over(errors[counts], batch)}

    def found(self, outputs: Tensor) -> Tensor:
        """Returns the mean guess."""
        return outputs.mean(1, keepdim=True)


class Modulated(Toy):
    """Two halves, of which the one that leads has its gradient lessened (in the manner of OGM-GE)."""

    class Config(Toy.Config):
        """How."""

        lessen: float = 0.5
        """Factor of the leading half's gradient."""
        alone: bool = False
        """Whether each worker decides for itself, as it should not."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.left, self.right = mlp(), mlp()
        self.calls: list[float] = []

    def stages(self) -> list[Stage]:
        """Returns one stage, whose gradients are adjusted."""
        return [
            Stage("both", [Objective("both", ["left", "right"], self.forward, self.losses, self.adjust)]),
        ]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns what each half says (B, 1)."""
        return {"left": self.left(batch["x"]), "right": self.right(batch["z"])}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error of the sum."""
        return {"square": (outputs["left"] + outputs["right"] - batch["y"]).square()[:, 0]}

    def adjust(self, outputs: Mapping[str, Tensor], batch: Batch) -> None:
        """Lessens the gradient of the half whose own error is smaller."""
        errors = torch.stack([(outputs[name] - batch["y"]).square().sum() for name in ("left", "right")])
        errors = errors if self.config.alone else workers.add(errors)
        leading = self.left if errors[0] < errors[1] else self.right
        self.calls.append(float(errors[0] / errors.sum()))
        for parameter in leading.parameters():
            if parameter.grad is not None:
                parameter.grad.mul_(self.config.lessen)

    def found(self, outputs: Mapping[str, Tensor]) -> Tensor:
        """Returns the sum of both."""
        return outputs["left"] + outputs["right"]


class Centred(Toy):
    """Learns the mean of x without gradients, and leaves out what is far from it; then y."""

    class Config(Toy.Config):
        """What is left out."""

        furthest: float = 100.0
        """Distance from the mean beyond which a sample is not learnt from."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.body, self.centre = mlp(), Centre()

    def stages(self) -> list[Stage]:
        """Returns the stage, which is prepared."""
        return [Stage("centred", [Objective("centred", ["body"], self.forward, self.losses)], self.prepare)]

    def prepare(self, batches: Iterable[Batch]) -> list[str]:
        """Learns the mean of the whole split, and returns the ids of what lies near it."""
        seen = [(batch.ids, batch["x"]) for batch in batches]
        ids, values = [name for names, _ in seen for name in names], torch.cat([value for _, value in seen])
        total = workers.add(torch.cat([values.sum(0), values.new_tensor([len(values)])]))
        self.centre.mean.copy_(total[:-1] / total[-1])
        self.centre.calls += 1
        near = (values - self.centre.mean).norm(dim=1) <= self.config.furthest
        return [name for name, chosen in zip(ids, near.tolist(), strict=True) if chosen]

    def forward(self, batch: Batch) -> Tensor:
        """Returns y (B, 1)."""
        return self.body(batch["x"] - self.centre.mean)

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error."""
        return {"square": (outputs - batch["y"]).square()[:, 0]}

    def evaluated(self, evaluation: Evaluation) -> None:
        """Remembers the last error, on every worker."""
        self.centre.error.fill_(evaluation.metrics["error"])


class Centre(nn.Module):
    """What is learnt without gradients."""

    mean: Tensor
    calls: Tensor
    error: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(DIM))
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))
        self.register_buffer("error", torch.zeros(()))


class Inverted(Toy):
    """Nothing is trained: the x of a y is found by optimising, each for itself."""

    batches = False
    probe: ClassVar[Mapping[str, Any]] = {"dataset.others": 6}

    def __init__(self, config: Task.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.rule = nn.Linear(DIM, 1)
        with torch.no_grad():
            self.rule.weight.copy_(torch.tensor([[1.0, -2.0, 0.5, 3.0]]))
            self.rule.bias.fill_(1.0)
        self.inputs, self.outputs = {"y": modalities["y"]}, {"x": modalities["x"]}
        self.sizes: list[int] = []

    def stages(self) -> list[Stage]:
        """Returns nothing."""
        return []

    def exported(self) -> dict[str, Exported]:
        """Returns nothing: it optimises."""
        return {}

    def forward(self, batch: Batch) -> Tensor:
        """Returns an x (B, D) whose y is the one that is wanted."""
        self.sizes.append(len(batch))
        start = torch.zeros(len(batch), DIM)
        return minimise(start, lambda x: (self.rule(x) - batch["y"]).square()[:, 0], steps=200, lr=0.1)

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `x`."""
        return {"x": self(batch)}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns the y of what was found, and the right one."""
        return {"found": self.rule(outputs), "right": batch["y"], "x": outputs}


class Lender(Toy):
    """Lends its encoder of x."""

    def __init__(self, config: Toy.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.eye, self.head = Eye(Eye.Config(), modalities["x"]), nn.Linear(3, 1)

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder of x."""
        return self.eye if field == "x" else super().encoder_of(field)

    def forward(self, batch: Batch) -> Tensor:
        """Returns y (B, 1)."""
        return self.head(self.eye(batch["x"]).pooled)

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error."""
        return {"square": (outputs - batch["y"]).square()[:, 0]}


class Borrower(Toy):
    """Builds on the encoder of another task, whatever it is called there."""

    experiment: ClassVar[Mapping[str, Any]] = {**Toy.experiment, "model": {"lender": "toy_lender"}}

    class Config(Toy.Config):
        """The other task."""

        lender: Task.Config
        """A task that encodes x."""
        field: str = "x"
        """What is to be encoded."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.lender: Task = config.lender.build(modalities)
        self.head = nn.Linear(self.lender.encoder_of(config.field).dim, 1)

    def stages(self) -> list[Stage]:
        """Returns the lender's stages and this one's."""
        return [*self.earlier("lender"), Stage("head", [Objective("head", ["head"], self.forward, self.losses)])]

    def forward(self, batch: Batch) -> Tensor:
        """Returns y (B, 1)."""
        return self.head(self.lender.encoder_of("x")(batch["x"]).pooled)

    losses = Lender.losses


class Eye(Encoder):
    """A layer."""

    takes = ("vector",)

    def __init__(self, config: Eye.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim, self.layer = 3, nn.Linear(modality.shape[0] or DIM, 3)

    def forward(self, vector: Tensor) -> Features:
        """Returns pooled (B, 3)."""
        return Features(self.layer(vector).tanh())


class Fused(Toy):
    """Tells whether y is positive from x and z, and what each of them says alone."""

    experiment: ClassVar[Mapping[str, Any]] = {**Toy.experiment, "model": {"metrics": ["toy_cells"]}}

    def __init__(self, config: Task.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.eyes = nn.ModuleDict({name: Eye(Eye.Config(), modalities[name]) for name in ("x", "z")})
        self.heads = nn.ModuleDict({name: nn.Linear(3, 2) for name in ("x", "z")})

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder of x or z."""
        return self.eyes[field] if field in self.eyes else super().encoder_of(field)  # type: ignore[return-value]

    def forward(self, batch: Batch) -> dict[str, dict[str, Tensor]]:
        """Returns embeddings (B, 3) and logits (B, 2) of each input, whose sum counts."""
        seen = {name: eye(batch[name]).pooled for name, eye in self.eyes.items()}
        return {"seen": seen, "logits": {name: head(seen[name]) for name, head in self.heads.items()}}

    def found(self, outputs: Any) -> Tensor:
        """Returns how likely y is positive (B, 1)."""
        chances: Tensor = sum(outputs["logits"].values()).softmax(1)[:, 1:]
        return chances

    def alone(self, outputs: Any, batch: Batch) -> Alone:
        """Returns the logits of each input."""
        return Alone(outputs["logits"], (batch["y"][:, 0] > 0).long())

    def losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """Returns the cross-entropy."""
        target = self.alone(outputs, batch).target
        return {"classes": F.cross_entropy(sum(outputs["logits"].values()), target, reduction="none")}  # type: ignore[arg-type]

    def rows(self, outputs: Any, batch: Batch) -> Rows:
        """Returns what is compared, and the embeddings."""
        embeddings = {f"embedding.{name}": seen for name, seen in outputs["seen"].items()}
        return {**super().rows(outputs, batch), **embeddings, "right": (batch["y"] > 0).float()}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns those of the experiment, and the squared error of the chances."""
        return {**Task.metrics(self, rows), **super().metrics(rows)}


class Balanced(Task):
    """Slows down the input that leads, of any task that tells what each says alone (after OGM, Peng et al. 2022)."""

    experiment: ClassVar[Mapping[str, Any]] = {**Toy.experiment, "model": {"inner": "toy_fused"}}
    probe = Toy.probe

    class Config(Task.Config):
        """The task, and how much."""

        inner: Task.Config
        """A task with `alone`."""
        alpha: float = 0.5
        """How strongly."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.inner: Task = config.inner.build(modalities)
        self.inputs, self.outputs = self.inner.inputs, self.inner.outputs
        self.slowed: list[str] = []

    def stages(self) -> list[Stage]:
        """Returns the inner task's stages, whose gradients are balanced."""
        return [
            replace(stage, objectives=[replace(each, adjust=self.balance) for each in stage.objectives])
            for stage in self.earlier("inner")
        ]

    def balance(self, outputs: Any, batch: Batch) -> None:
        """Lessens the gradients of each encoder by how far its input is ahead of the mean of the others."""
        alone = self.inner.alone(outputs, batch)
        said = [logits.softmax(1).gather(1, alone.target[:, None]).sum() for logits in alone.logits.values()]
        scores = workers.add(torch.stack(said))
        for place, name in enumerate(alone.logits):
            ahead = scores[place] * (len(said) - 1) / (scores.sum() - scores[place])
            if ahead > 1:
                self.slowed.append(name)
                for parameter in self.inner.encoder_of(name).parameters():
                    if parameter.grad is not None:
                        parameter.grad.mul_(1 - torch.tanh(self.config.alpha * ahead))

    def forward(self, batch: Batch) -> Any:
        """Returns the inner task's outputs."""
        return self.inner(batch)

    def rows(self, outputs: Any, batch: Batch) -> Rows:
        """Returns the inner task's rows."""
        return self.inner.rows(outputs, batch)

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the inner task's metrics."""
        return self.inner.metrics(rows)

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the inner task's answers."""
        return self.inner.predict(batch)


class Cells(Metric):
    """Share of units whose responses to all modalities go together: a metric over embeddings of several modalities."""

    needs = ("embedding",)

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `shared_cells`."""
        seen = [value - value.mean(0) for name, value in rows.items() if name.startswith("embedding.")]
        joint = torch.stack([F.cosine_similarity(one, other, dim=0) for one, other in combinations(seen, 2)])
        return {"shared_cells": float((joint.amin(0) > 0.3).float().mean())}


class Boxes(Modality):
    """Boxes [x0, y0, x1, y1, label] over a picture; those that leave it go."""

    form = "boxes"
    shape = (None, 5)

    class Config(Modality.Config):
        """What they lie over."""

        follows: str | None = None
        """Field of the picture."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.follows = config.follows

    def decode(self, raw: Any) -> Tensor:
        """Returns (N, 5)."""
        return torch.tensor(raw, dtype=torch.float32).view(-1, 5)

    def transform(self, value: Tensor, random: torch.Generator | None) -> Tensor:
        """Returns them as they are."""
        return value

    def follow(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns those that are left of the picture, cut to it."""
        height, width = geometry.seen
        limits = torch.tensor([width, height, width, height])
        boxes = geometry.boxes(value[:, :4]).clamp(min=0).minimum(limits)
        kept = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(1)
        return torch.cat([boxes, value[:, 4:]], 1)[kept]

    def put_back(self, value: Padded | Tensor, geometry: Geometry) -> Tensor:
        """Returns those that are real in the pixels of the picture that was sent."""
        boxes = value.data[value.mask] if isinstance(value, Padded) else value
        return torch.cat([geometry.inverse().boxes(boxes[:, :4]), boxes[:, 4:]], 1)

    def collate(self, values: Sequence[Tensor]) -> Padded:
        """Returns (B, N, 5) with the mask (B, N)."""
        data = nn.utils.rnn.pad_sequence(list(values), batch_first=True)
        counts = torch.tensor([len(value) for value in values])
        return Padded(data, torch.arange(data.shape[1]) < counts[:, None])

    def encode(self, value: Padded | Tensor) -> list[list[float]]:
        """Returns those that are real."""
        real = value.data[value.mask] if isinstance(value, Padded) else value
        boxes: list[list[float]] = real.tolist()
        return boxes

    def example(self, random: torch.Generator) -> list[list[float]]:
        """Returns a box."""
        return [[1.0, 2.0, 5.0, 6.0, 0.0]]


class Spots(Dataset):
    """Pictures of a bright spot, and the box around it."""

    fields: ClassVar[dict[str, str]] = {"image": "image", "boxes": "toy_boxes"}

    def open(self, split: str) -> list[dict[str, Any]]:
        """Returns one split."""
        random, samples = np.random.default_rng(len(split)), []
        for number in range(16):
            row, column = int(random.integers(8, 52)), int(random.integers(8, 82))
            picture = np.zeros((60, 90), np.float32)
            picture[row - 2 : row + 3, column - 2 : column + 3] = 1
            box = [[column - 2, row - 2, column + 3, row + 3, 1]]
            samples.append({"id": f"{split}/{number}", "image": picture, "boxes": box})
        return samples


class Pointing(Toy):
    """A box around what is bright; nothing is learnt."""

    experiment: ClassVar[Mapping[str, Any]] = {
        "plugins": ["toys", "contract_toys"],
        "dataset": "toy_spots",
        "modalities": {
            "image": {"name": "image", "size": [48, 64], "channels": 1},
            "boxes": {"name": "toy_boxes", "follows": "image"},
        },
        "training": {"epochs": 1, "global_batch": 8},
        "run": {"threads": 1},
        "search": {"metric": "error", "mode": "min"},
    }
    probe: ClassVar[Mapping[str, Any]] = {"training.epochs": 50, "training.optimizer.lr": 0.01}

    def __init__(self, config: Task.Config, modalities: Mapping[str, Modality]) -> None:
        Task.__init__(self, config, modalities)
        self.scale = Scale()
        self.inputs, self.outputs = {"image": modalities["image"]}, {"found": modalities["boxes"]}

    def forward(self, batch: Batch) -> Tensor:
        """Returns x and y of the middle of what is bright (B, 2)."""
        light = (batch["image"][:, 0] + 1).clamp(min=0)
        total = light.sum((1, 2))
        across = (light.sum(1) * (torch.arange(light.shape[2]) + 0.5)).sum(1) / total
        down = (light.sum(2) * (torch.arange(light.shape[1]) + 0.5)).sum(1) / total
        return torch.stack([across, down], 1) * self.scale.one

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns how far it is from the middle of the box, over the boxes that are left."""
        boxes: Padded = batch["boxes"]
        middles = (boxes.data[..., :2] + boxes.data[..., 2:4]) / 2
        far = (middles - outputs[:, None]).square().sum(-1)
        return {"far": workers.mean_over(far[boxes.mask], batch)}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns what is compared."""
        boxes: Padded = batch["boxes"]
        right = (boxes.data[:, 0, :2] + boxes.data[:, 0, 2:4]) / 2
        kept = [each[real].tolist() for each, real in zip(boxes.data, boxes.mask, strict=True)]
        return {"found": outputs, "right": right, "boxes": kept}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns `found`, a box of 4 pixels."""
        middle = self(batch)
        label = middle.new_ones(middle.shape[0], 1)
        return {"found": Padded(torch.cat([middle - 2, middle + 2, label], 1)[:, None], label.bool())}


class Near(Dataset):
    """Points x with their y, or x with z and no y: samples of different fields."""

    fields: ClassVar[dict[str, str]] = {"x": "vector", "y": "vector", "word": "text"}

    class Config(Dataset.Config):
        """Sizes and fields."""

        count: int = 24
        """Samples of each split."""
        field: str = "y"
        """Field besides x: y or z."""
        word: str = "near"
        """What each sample is called."""

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        kinds = {"x": "vector", config.field: "vector", "word": "text", "other": "text"}
        self.fields = kinds  # type: ignore[misc]

    def open(self, split: str) -> list[dict[str, Any]]:
        """Returns one split."""
        random = torch.Generator().manual_seed(len(split) + len(self.config.word))
        x = torch.randn(self.config.count, DIM, generator=random)
        value = x @ torch.tensor([[1.0, -2.0, 0.5, 3.0]]).T + 1 if self.config.field == "y" else -x
        return [
            {"id": f"{split}/{n}", "x": a, self.config.field: b, "word": self.config.word, "other": "elsewhere"}
            for n, (a, b) in enumerate(zip(x.tolist(), value.tolist(), strict=True))
        ]


class Sourced(Task):
    """Two sources: of one y is learnt, of the other z, by a shared trunk."""

    experiment: ClassVar[Mapping[str, Any]] = {
        "plugins": ["toys", "contract_toys"],
        "dataset": {
            "name": "union",
            "sources": {
                "near": {"name": "toy_near", "count": 24},
                "far": {"name": "toy_near", "count": 40, "field": "z", "word": "far"},
            },
            "batches": {"far": 4},
        },
        "modalities": {
            "x": {"name": "noisy", "size": DIM},
            "y": {"name": "vector", "size": 1},
            "z": {"name": "vector", "size": DIM},
            "word": {"name": "text"},
        },
        "training": {"epochs": 2, "global_batch": 8, "schedule": {"name": "constant", "warmup": 0.0}},
        "evaluation": {"split": ["near_test", "far_test"]},
        "run": {"threads": 1},
        "search": {"metric": "near_test/error", "mode": "min"},
    }
    probe: ClassVar[Mapping[str, Any]] = {"training.epochs": 10, "training.optimizer.lr": 0.03}

    class Config(Task.Config):
        """What is wrong with it."""

        learns_from: str = "far"
        """The source of the second objective."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.trunk, self.near, self.far = nn.Linear(DIM, 8), Head(1), Head(DIM)
        self.inputs = {"x": modalities["x"]}
        self.outputs = {"y": modalities["y"]}

    def stages(self) -> list[Stage]:
        """Returns one stage with an objective for each source."""
        near = Objective("near", ["trunk", "near"], self.forward, self.losses, source="near")
        far = Objective("far", ["trunk", "far"], self.forward, self.losses, source=self.config.learns_from)
        return [Stage("both", [near, far])]

    def forward(self, batch: Batch) -> Tensor:
        """Returns what is found (B, 1) or (B, D), by the source."""
        seen = self.trunk(batch["x"]).tanh()
        return self.far(seen) if batch.source == "far" else self.near(seen)

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error."""
        return {"square": (outputs - self.right(batch)).square().mean(1)}

    def right(self, batch: Batch) -> Tensor:
        """Returns what is right of a source."""
        assert ("y" in batch) != ("z" in batch), "no blanks"
        right: Tensor = batch["z"] if batch.source == "far" else batch["y"]
        return right

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns the errors."""
        return {"error": (outputs - self.right(batch)).square().mean(1)}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns their mean."""
        return {"error": float(rows["error"].mean()), "count": float(len(rows["error"]))}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns y."""
        return {"y": self(batch)}


class Head(nn.Module):
    """A layer and a scalar, which sharding leaves whole."""

    def __init__(self, out: int) -> None:
        super().__init__()
        self.layer, self.scale = nn.Linear(8, out), Scale()

    def forward(self, seen: Tensor) -> Tensor:
        """Returns what is found (B, out)."""
        return self.layer(seen) * self.scale.one


class Scale(nn.Module):
    """One number."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(()))


@hookimpl
def sensorium_modalities() -> dict[str, type[Modality]]:
    """Boxes."""
    return {"toy_boxes": Boxes}


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """Spots."""
    return {"toy_spots": Spots, "toy_near": Near}


@hookimpl
def sensorium_encoders() -> dict[str, type[Encoder]]:
    """An eye."""
    return {"toy_eye": Eye}


@hookimpl
def sensorium_metrics() -> dict[str, type[Metric]]:
    """What several modalities excite."""
    return {"toy_cells": Cells}


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """The toys."""
    return {
        "toy_spoken": Spoken,
        "toy_modulated": Modulated,
        "toy_centred": Centred,
        "toy_inverted": Inverted,
        "toy_lender": Lender,
        "toy_borrower": Borrower,
        "toy_pointing": Pointing,
        "toy_sourced": Sourced,
        "toy_fused": Fused,
        "toy_balanced": Balanced,
    }
