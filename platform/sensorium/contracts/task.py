"""Task: joins modalities, encoders, fusions, decoders and losses into something to learn.

Shapes: B samples of a batch, N samples of a split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, ClassVar

from torch import Tensor, nn

from sensorium.contracts.component import Component, Config
from sensorium.contracts.data import Batch, Features, Rows
from sensorium.contracts.dataset import Split
from sensorium.contracts.exported import Exported
from sensorium.contracts.metric import Metric
from sensorium.contracts.modality import Modality
from sensorium.contracts.parts import Encoder
from sensorium.contracts.reading import collate, transform
from sensorium.contracts.run import Evaluation
from sensorium.errors import UserError


@dataclass(frozen=True)
class Objective:
    """One loss and the parts that it updates.

    Attributes:
        name: Name in logs and in the experiment.
        updates: Names of the task's submodules whose parameters it trains, dotted for inner ones.
        forward: Batch -> outputs, a structure of tensors with B first. It works sample by sample:
            whatever looks across samples belongs into `losses`.
        losses: Outputs and batch -> terms by name; each (B,), or a scalar mean over the B samples.
            Their sum is what the objective minimises.
        adjust: Outputs, without their graph, and batch; may change the gradients of the parts in place, once a step:
            when those of all workers are joined and unscaled, before they are clipped. What it does must be the
            same on every worker: sums over the global batch come from `workers.add`.
        source: Source of the dataset whose batches it learns from; None is every batch.
        steady: Whether each step uses the same parameters, whatever the batch. Several workers then look at the first
            step alone for parameters that nobody uses.
    """

    name: str
    updates: Sequence[str]
    forward: Callable[[Batch], Any]
    losses: Callable[[Any, Batch], Mapping[str, Tensor]]
    adjust: Callable[[Any, Batch], None] | None = None
    source: str | None = None
    steady: bool = False


@dataclass(frozen=True)
class Stage:
    """Objectives that are trained together for some epochs, in this order at each step.

    What no objective of the stage names is frozen and in evaluation mode.

    Attributes:
        name: Name in logs and in the experiment.
        objectives: What is learnt.
        prepare: Learns without gradients before the stage's first step: k-means, thresholds, what to leave out. It
            gets this worker's share of the stage's split, each sample once and as in evaluation. Results go into
            buffers, which are part of each checkpoint, and must be the same on every worker: sums come from
            `workers.add`. It may return the ids, of its share, of the samples to learn from; None is all.
    """

    name: str
    objectives: Sequence[Objective]
    prepare: Callable[[Iterable[Batch]], Iterable[str] | None] | None = None


@dataclass(frozen=True)
class Alone:
    """What each of several inputs says without the others.

    Attributes:
        logits: Input -> logits (B, C) of the classes, from this input alone.
        target: The right class of each sample, (B,) int64.
    """

    logits: Mapping[str, Tensor]
    target: Tensor


def learning_from(stage: Stage, source: str) -> list[Objective]:
    """Returns the objectives of a stage that learn from batches of a source, in their order."""
    return [objective for objective in stage.objectives if objective.source in (None, source)]


class Task(Component, nn.Module):
    """A model with its losses, metrics and predictions. Its direct submodules are its parts.

    The usual task has one stage with one objective: `forward` and `losses` are all it writes.

    Attributes:
        experiment: The default experiment: a YAML file beside the module, or the content itself.
        modalities: Field -> modality, of all fields that the experiment names.
        inputs: Field -> modality of what `predict` takes.
        optional: Inputs that `predict` can do without.
        outputs: Name -> modality of what `predict` returns.
        embeddings: Input -> the output that is its embedding, a vector. All lie in one space of unit
            vectors, so that inner products compare them. A task that has some can be indexed and searched.
        steady: `Objective.steady` of its only objective, for a task that does not write `stages`.
        batches: False where samples cannot share a batch in evaluation and prediction, such as one that optimises
            something for each.
    """

    kind = "task"
    experiment: ClassVar[str | Mapping[str, Any]] = "experiment.yaml"
    optional: frozenset[str] = frozenset()
    inputs: Mapping[str, Modality]
    outputs: Mapping[str, Modality]
    embeddings: Mapping[str, str] = MappingProxyType({})
    batches: ClassVar[bool] = True

    class Config(Config):
        """Options that every task has."""

        metrics: list[Metric.Config] = field(default_factory=list)
        """Metrics of an evaluation."""

        weights: str | None = None
        """Folder or URI of a trained model of this task that the training starts from. Options that are left
        out are that model's, and so is what its modalities have learnt."""

    def __init__(self, config: Task.Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__()
        self.config = config
        self.modalities = modalities
        self._metrics: list[Metric] = [metric.build() for metric in config.metrics]

    @staticmethod
    def apart(what: str, fields: Mapping[str, Modality], own: Mapping[str, Modality]) -> dict[str, Modality]:
        """Returns `inputs`, or `outputs`: fields of the data, and what the task calls by a name of its own.

        Args:
            what: Whether these are inputs or outputs, for the message.
            fields: Field -> modality; the names are a user's.
            own: Name -> modality; the names are the task's.

        Raises:
            UserError: A field has the name of one of the task's own.
        """
        for name in fields:
            if name in own:
                raise UserError(
                    f"The field {name!r} has the name of one of the task's own {what}.",
                    f"These are {', '.join(map(repr, own))}.",
                    "Rename the field in the data, in `modalities` and in `model`.",
                )
        return {**fields, **own}

    def initialise(self) -> None:
        """Takes what published weights hold beside encoders, such as a temperature, as `Encoder.initialise` does."""

    def stages(self) -> Sequence[Stage]:
        """Returns what is trained, in order; nothing for a task that needs no training, but is served all the same."""
        parts = [name for name, _ in self.named_children()]
        only = Objective(self.objective, parts, self.forward, self.losses, steady=self.steady)
        return [Stage("train", [only])]

    def earlier(self, *names: str) -> list[Stage]:
        """Returns the stages that train inner tasks, which are parts of this one, before it builds on them.

        Inner tasks that start from `weights` are trained already and have none.
        """
        stages = []
        for name in names:
            task: Task = self.get_submodule(name)  # type: ignore[assignment]
            inner = task.stages() if task.config.weights is None else ()
            for stage in inner:
                objectives = [
                    replace(
                        objective,
                        name=name if len(stage.objectives) == 1 else f"{name}/{objective.name}",
                        updates=[f"{name}.{part}" for part in objective.updates],
                    )
                    for objective in stage.objectives
                ]
                outer = name if len(inner) == 1 else f"{name}/{stage.name}"
                stages.append(replace(stage, name=outer, objectives=objectives))
        return stages

    def encoder_of(self, field: str) -> Encoder:
        """Returns the part that encodes a field, for another task that builds on this one.

        Raises:
            UserError: It has none that another task could use.
        """
        raise UserError(
            f"The task {type(self).__name__} lends no encoder of {field!r}.",
            "A task was expected whose `encoder_of` returns one.",
            "Take `recognition` or `clip`.",
        )

    def embedding_of(self, field: str, features: Features) -> Tensor:
        """Returns features of a field in the space of `embeddings`, (B, D), for another task that builds on this one.

        Args:
            field: Whose encoder the features come from.
            features: With `pooled`: what `encoder_of(field)` returned, or a part of it, such as single tokens.

        Raises:
            UserError: The task has no such space.
        """
        raise UserError(
            f"The task {type(self).__name__} brings no features of {field!r} into a common space.",
            "A task was expected whose `embedding_of` does.",
            "Take `clip`.",
        )

    def logits_of(self, field: str, features: Features) -> Mapping[str, Tensor]:
        """Returns what the task tells of features of a field: output -> logits (B, C), for another task.

        Args:
            field: Whose encoder the features come from.
            features: With `pooled`: what `encoder_of(field)` returned, or what another network made in its likeness.

        Raises:
            UserError: The task tells no classes.
        """
        raise UserError(
            f"The task {type(self).__name__} tells no classes of features of {field!r}.",
            "A task was expected whose `logits_of` does.",
            "Take `recognition`.",
        )

    def alone(self, outputs: Any, batch: Batch) -> Alone:
        """Returns what each input says without the others, for methods that balance modalities.

        Such a method is a task around any task that has this: it takes the inner task's stages (`earlier`) and gives
        their objectives an `adjust` that compares the logits, summed over the workers, and changes the gradients of
        `encoder_of(input)` (as in X. Peng et al., Balanced Multimodal Learning via On-the-fly Gradient Modulation,
        CVPR 2022).

        Args:
            outputs: What `forward` returned, perhaps without its graph.
            batch: The samples.

        Raises:
            UserError: The task has no logits of an input alone.
        """
        raise UserError(
            f"The task {type(self).__name__} does not tell what each input says alone.",
            "A task with a method `alone` was expected.",
            "Add it to the task, or take another.",
        )

    def batched(self, samples: Sequence[Mapping[str, Any]]) -> Batch:
        """Returns raw samples of equal fields as a batch, read as in evaluation, on the model's device.

        Raises:
            MediaError: A value cannot be read.
            UserError: A field lies over a picture that is not given.
        """
        given = {name: modality for name, modality in self.modalities.items() if name in samples[0]}
        whole = [{"id": str(number), **sample} for number, sample in enumerate(samples)]
        batch = collate([(sample, transform(sample, given)) for sample in whole], given)
        return batch.to(next(self.parameters()).device)

    objective: ClassVar[str] = "main"
    steady: ClassVar[bool] = False

    def forward(self, batch: Batch) -> Any:
        """Returns the outputs for a batch."""
        raise NotImplementedError

    def losses(self, outputs: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Returns the terms of the loss by name, each (B,) or a scalar mean."""
        raise NotImplementedError

    def rows(self, outputs: Any, batch: Batch) -> Rows:
        """Returns what the metrics need of each sample: name -> tensor (B, ...) or list of B.

        A tensor has one shape for all samples of a split, apart from B. What samples have different numbers of, such
        as boxes, is a list with one item for each. A row with the name of an output is what `predict` answers, and
        `logits.<output>` are its logits: `sensorium plugin check` compares both. Metrics may ask for embeddings of
        several modalities, `embedding.<input>` (B, D).
        """
        raise NotImplementedError

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the metrics over a whole split, from the rows of all N samples."""
        return {name: value for metric in self._metrics for name, value in metric(rows).items()}

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns plots of an evaluation: file name -> PNG. Row i belongs to sample i of the split.

        Those of the metrics are here; a task adds its own.
        """
        return {name: png for metric in self._metrics for name, png in metric.plots(rows).items()}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns sentences that show what the model does on a few samples of a split."""
        return []

    def evaluated(self, evaluation: Evaluation) -> None:
        """Takes notice of an evaluation during training, on every worker: what it learns goes into buffers."""

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns name -> values of `outputs`, for the fields that `batch` holds: as a batch's fields, B first."""
        raise NotImplementedError

    def exported(self) -> Mapping[str, Exported]:
        """Returns what of the task works without Sensorium, by name; nothing where that is of no use.

        By default it is `predict`, asked for the inputs that it needs, as `model`; of a task that can do without any
        of them, one function for each input that has an embedding.
        """
        needed = [name for name in self.inputs if name not in self.optional]
        asked = {"model": needed} if needed else {name: [name] for name in self.embeddings}
        return {name: self.predicting(*fields) for name, fields in asked.items()}

    def predicting(self, *fields: str) -> Exported:
        """Returns `predict`, asked for some inputs, as a function to export."""
        about = (self.predict.__doc__ or "").strip().partition("\n")[0]
        return Exported(about, self.predict, {name: self.inputs[name] for name in fields}, self.outputs)
