"""What the engine is told: the sections `training` and `evaluation` of an experiment."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sensorium.contracts.component import Config


def _positive(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not 0 < value < math.inf:
            raise ValueError(f"{name} must be above 0, not {value}")


def _check_average(decay: float | None) -> None:
    if decay is not None and not 0 <= decay < 1:
        raise ValueError(f"average must lie in [0, 1), not {decay}")


class Part(Config):
    """What the optimizer does otherwise with a part of the model; options that are left out are those around it."""

    lr: float | None = None
    """Learning rate after warm-up."""
    weight_decay: float | None = None
    """Decay of weights a step, times the learning rate."""
    layer_decay: float | None = None
    """Factor of the learning rate from each block of the part to the one before it, such as 0.75: of L blocks the last
    has it once, the first L times, and what lies before them L + 1 times (as in BEiT and MAE)."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the torch class, such as betas or momentum."""

    def __post_init__(self) -> None:
        _positive(lr=self.lr)
        if self.layer_decay is not None and not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay must lie in (0, 1], not {self.layer_decay}")


class Optimizer(Config):
    """How parameters are updated."""

    name: str = "adamw"
    """Class of torch.optim, in lower case: adamw, adam, sgd, …"""
    lr: float = 1e-3
    """Learning rate after warm-up."""
    weight_decay: float = 0.0
    """Decay of weights a step, times the learning rate; biases, norms and scalars are spared."""
    options: dict[str, Any] = field(default_factory=dict)
    """Further arguments of the torch class, such as betas or momentum."""
    parts: dict[str, Part] = field(default_factory=dict)
    """Part of the model, such as encoders.image -> what is otherwise there; the schedule multiplies its rate, too."""

    def __post_init__(self) -> None:
        _positive(lr=self.lr)


class Schedule(Config):
    """How the learning rate changes over the steps of a stage."""

    name: Literal["constant", "linear", "cosine"] = "cosine"
    """Shape of the decay after warm-up."""
    warmup: float = 0.05
    """Share of the stage's steps over which the rate rises from 0."""
    final: float = 0.0
    """Share of the learning rate that is left at the last step."""

    def __post_init__(self) -> None:
        if not 0 <= self.warmup < 1 or not 0 <= self.final <= 1:
            raise ValueError("warmup must lie in [0, 1) and final in [0, 1]")


class Stage(Config):
    """What a stage does otherwise than the rest of the training."""

    epochs: int | None = None
    """Passes over the split."""
    split: str = "train"
    """Split of the dataset that the stage learns from."""
    global_batch: int | None = None
    """Samples of an optimizer step, over all workers."""
    average: float | None = None
    """Decay a step of the running mean of the weights."""
    optimizer: Optimizer | None = None
    """Optimizer of all the stage's objectives."""
    optimizers: dict[str, Optimizer] = field(default_factory=dict)
    """Objective -> its optimizer."""
    schedule: Schedule | None = None
    """Learning rate over the stage."""

    def __post_init__(self) -> None:
        _positive(global_batch=self.global_batch)
        _check_average(self.average)


class Checkpoints(Config):
    """When the state of the training is saved."""

    epochs: int = 1
    """Epochs between checkpoints; there is always one at the end of a stage."""
    steps: int | None = None
    """Optimizer steps between further checkpoints."""
    keep: int = 2
    """Number of latest checkpoints kept, beside the best one."""

    def __post_init__(self) -> None:
        _positive(epochs=self.epochs, steps=self.steps, keep=self.keep)


class EarlyStopping(Config):
    """Stops when a metric no longer gets better, and keeps the model that was best."""

    metric: str
    """Metric of the validation split."""
    mode: Literal["max", "min"] = "max"
    """Whether larger or smaller is better."""
    patience: int = 5
    """Evaluations without a better metric before the stage ends."""


class Training(Config):
    """How the model learns."""

    epochs: int = 10
    """Passes over the training split, for each stage."""
    steps: int | None = None
    """Most optimizer steps of a stage, which then ends within its first epoch, and of whose samples no measurement
    reads more: for trials. Where it is not given, the variable SENSORIUM_STEPS sets it."""
    global_batch: int = 64
    """Samples of an optimizer step, over all workers; what is left of an epoch below it is not used."""
    shuffle: Literal["full", "blocks"] = "full"
    """What an epoch mixes: all samples; or those of a window of several shards (tar files, groups of rows), one window
    after another, for data that lie afar or do not fit. Either way the order follows from the seed."""
    window: int = 16
    """Shards that `shuffle: blocks` mixes with one another; with as many as there are machines, or more, each machine
    reads other ones. They should find room in the dataset's cache twice."""
    accumulate: int = 1
    """Parts that each worker cuts its share into, to need less memory; the gradient stays the same."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Number format of the forward pass; weights and losses stay in float32. On a GPU take bf16. All but fp32 have a
    GPU multiply what is left in float32 in tf32, with 10 bits of mantissa."""
    compile: str | None = None
    """Backend of torch.compile for the forward pass, such as inductor; None compiles nothing. The pass and its backward
    pass become one graph each where the task's `forward` reads tensors alone."""
    clip_norm: float | None = 1.0
    """Largest L2 norm of an objective's gradient; larger ones are scaled down."""
    average: float | None = None
    """Decay a step of the running mean of the weights, such as 0.999, which evaluation, the saved model and
    later stages use; None takes the weights of the last step."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """Optimizer of every objective."""
    schedule: Schedule = field(default_factory=Schedule)
    """Learning rate over each stage."""
    stages: dict[str, Stage] = field(default_factory=dict)
    """Stage -> what it does otherwise."""
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    """When the state is saved."""
    early_stopping: EarlyStopping | None = None
    """When to stop before the last epoch."""

    def __post_init__(self) -> None:
        _positive(
            steps=self.steps,
            global_batch=self.global_batch,
            window=self.window,
            accumulate=self.accumulate,
            clip_norm=self.clip_norm,
        )
        _check_average(self.average)
        if self.epochs < 0:
            raise ValueError(f"epochs must be 0 or more, not {self.epochs}")

    def plan(self, stage: str) -> Plan:
        """Returns what a stage does, its own options before those of the training."""
        own = self.stages.get(stage, Stage())
        epochs = self.epochs if own.epochs is None else own.epochs
        return Plan(
            epochs=epochs if self.steps is None else min(epochs, 1),
            split=own.split,
            global_batch=own.global_batch or self.global_batch,
            average=self.average if own.average is None else own.average,
            schedule=own.schedule or self.schedule,
            optimizer=own.optimizer or self.optimizer,
            optimizers=own.optimizers,
        )


@dataclass(frozen=True)
class Plan:
    """What a stage does, with nothing left open; fields as those of `Stage` and `Training`."""

    epochs: int
    split: str
    global_batch: int
    average: float | None
    schedule: Schedule
    optimizer: Optimizer
    optimizers: Mapping[str, Optimizer]

    def optimizer_of(self, objective: str) -> Optimizer:
        """Returns the optimizer of one of the stage's objectives."""
        return self.optimizers.get(objective, self.optimizer)


class Evaluation(Config):
    """How the model is measured."""

    epochs: int = 0
    """Epochs between evaluations while training; 0 for none."""
    split: str | tuple[str, ...] = "test"
    """Split of the final evaluation, or several, whose names its metrics then carry: `far_test/accuracy`."""
    during: str | tuple[str, ...] = "validation"
    """Split of the evaluations between epochs, or several."""
    batch: int = 256
    """Samples of a forward pass, over all workers."""
    plots: bool = True
    """Whether evaluations between epochs draw plots too; the final one always does."""
    contributions: bool = True
    """Whether the final evaluation also tells what each input contributes: the metrics with the
    field's values dealt out to other samples, for tasks of more than one input."""

    def __post_init__(self) -> None:
        _positive(batch=self.batch)

    @property
    def finally_on(self) -> tuple[str, ...]:
        """The splits of the final evaluation."""
        return (self.split,) if isinstance(self.split, str) else self.split

    @property
    def meanwhile_on(self) -> tuple[str, ...]:
        """The splits of the evaluations between epochs."""
        return (self.during,) if isinstance(self.during, str) else self.during
