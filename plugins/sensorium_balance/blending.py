"""Gradient-Blending: each input's own loss counts by how much it still generalises, and how little it overfits.

After W. Wang, D. Tran, M. Feiszli, What Makes Training Multi-modal Classification Networks Hard?, CVPR 2020: the
weights that are best under their model of noise are generalisation over the square of overfitting (equation 5), each
measured since the last estimate (online, algorithm 2). They sum to the number of losses, so that a learning rate is
what it is without them.

Shapes: B samples, K + 1 losses: that of each input alone, and that of all together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Evaluation, Modality, Rows, Stage, UserError, unknown
from sensorium_balance.around import Around

JOINT = "joint"
UNMEASURED = -1.0
"""What stands for a loss, none of which is below 0, before its first measurement."""
FLOOR = 0.1
"""Least overfitting that counts, in nats: below it, losses of a few hundred samples differ by chance."""


class GradientBlending(Around):
    """A task whose inputs have losses of their own, with weights that follow from two evaluations."""

    experiment: ClassVar[str] = "gradient_blending.yaml"

    class Config(Around.Config):
        """What the weights follow from."""

        learnt: str = "few"
        """Split of training samples on which the losses are measured; one of evaluation.during."""
        held: str = "validation"
        """Split of other samples on which they are measured; one of evaluation.during."""
        joint: str = "joint"
        """Name of the inner task's loss that all inputs share."""
        every: int = 1
        """Evaluations from one estimate of the weights to the next."""

        def __post_init__(self) -> None:
            if self.every < 1:
                raise ValueError("every is at least 1.")
            if self.learnt == self.held:
                raise ValueError("learnt and held are two splits.")

    config: Config
    weights: Tensor
    first: Tensor
    last: Tensor
    seen: Tensor

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.names = (*self.inputs, JOINT)
        count = len(self.names)
        self.register_buffer("weights", torch.ones(count))
        self.register_buffer("first", torch.full((2, count), UNMEASURED))
        self.register_buffer("last", torch.full((2, count), UNMEASURED))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    def stages(self) -> list[Stage]:
        """Returns one stage, in which the inner task learns.

        Raises:
            UserError: The inner task has several, or starts from weights and has none.
        """
        stages = self.earlier("inner")
        if [len(stage.objectives) for stage in stages] != [1]:
            raise UserError(
                f"The inner task is trained in {len(stages)} stages.",
                "One stage with one objective was expected; a task that starts from weights has none.",
                "Take `fused`, without model.inner.weights.",
            )
        (stage,), (objective,) = stages, stages[0].objectives
        return [replace(stage, objectives=[replace(objective, losses=self.losses)])]

    def losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        """Returns the inner task's loss and that of each input alone, (B,), by their weights.

        The inner task's other losses stay as they are: the map that tells what an input says alone learns from one of
        them, also when the input's own weight is 0. It would else fall behind its encoder, and the input never rise.
        """
        every = self._losses(outputs, batch)
        weighted = {name: weight * every[name] for name, weight in zip(self.names, self.weights, strict=True)}
        others = {name: term for name, term in self.inner.losses(outputs, batch).items() if name != self.config.joint}
        return {**others, **weighted}

    def _losses(self, outputs: Any, batch: Batch) -> dict[str, Tensor]:
        alone = self.inner.alone(outputs, batch)
        own = {name: F.cross_entropy(each, alone.target, reduction="none") for name, each in alone.logits.items()}
        terms = self.inner.losses(outputs, batch)
        if self.config.joint not in terms:
            raise unknown("loss of the inner task", self.config.joint, terms)
        return {**own, JOINT: terms[self.config.joint].expand(len(batch))}

    def rows(self, outputs: Any, batch: Batch) -> Rows:
        """Returns the inner task's rows, and each loss of each sample."""
        losses = self._losses(outputs, batch)
        return {**self.inner.rows(outputs, batch), **{f"blended.{name}": each for name, each in losses.items()}}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the inner task's metrics, each loss, and its weight."""
        found = {f"{name}_loss": float(rows[f"blended.{name}"].double().mean()) for name in self.names}
        weights = {f"{name}_weight": float(weight) for name, weight in zip(self.names, self.weights, strict=True)}
        return {**super().metrics(rows), **found, **weights}

    def evaluated(self, evaluation: Evaluation) -> None:
        """Estimates the weights anew, where both splits have been measured.

        Raises:
            UserError: One split is measured time and again, the other is not.
        """
        splits = (self.config.learnt, self.config.held)
        if evaluation.split not in splits:
            return
        measured = self.last[splits.index(evaluation.split)]
        if (measured != UNMEASURED).any():
            raise unmeasured(splits, [evaluation.split])
        measured.copy_(measured.new_tensor([evaluation.metrics[f"{name}_loss"] for name in self.names]))
        if (self.last == UNMEASURED).any():
            return
        if (self.first == UNMEASURED).any():
            self.first.copy_(self.last)
        else:
            self.seen += 1
            if int(self.seen) % self.config.every == 0:
                self.weights.copy_(blend(self.first, self.last))
                self.first.copy_(self.last)
        self.last.fill_(UNMEASURED)


def check(experiment: Mapping[str, Any]) -> None:
    """Checks, before a training begins, that what the weights follow from will be measured.

    Args:
        experiment: The whole experiment of the task, as plain data.

    Raises:
        UserError: One of the splits, or neither, is evaluated during training.
    """
    evaluation, model = experiment["evaluation"], experiment["model"]
    during = [evaluation["during"]] if isinstance(evaluation["during"], str) else evaluation["during"]
    splits = (model["learnt"], model["held"])
    measured = [name for name in splits if name in during and evaluation["epochs"]]
    if len(measured) < len(splits):
        raise unmeasured(splits, measured)


def unmeasured(splits: Sequence[str], measured: Sequence[str]) -> UserError:
    """Returns the error that not both splits are evaluated during training."""
    return UserError(
        f"Of the splits {' and '.join(splits)}, {' and '.join(measured) or 'none'} is evaluated during training.",
        "Gradient-Blending compares the losses on both.",
        f"Set evaluation.during=[{','.join(splits)}] and evaluation.epochs=1.",
    )


def blend(first: Tensor, last: Tensor) -> Tensor:
    """Returns the weight of each loss, (K + 1,), which sum to K + 1.

    Args:
        first: Losses of training samples and of held-out ones at the last estimate, (2, K + 1).
        last: The same ones now.
    """
    generalised = (first[1] - last[1]).clamp(min=0)
    overfitted = ((last[1] - last[0]) - (first[1] - first[0])).clamp(min=FLOOR)
    weights = generalised / overfitted.square()
    if not weights.sum() > 0:
        return torch.ones_like(weights)
    return len(weights) * weights / weights.sum()
