"""An experiment made into objects: splits, modalities, a task; and a trained model loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sensorium import checks, trained
from sensorium.contracts.dataset import Dataset, Split
from sensorium.contracts.modality import Modality
from sensorium.contracts.task import Task
from sensorium.engine import optimizers
from sensorium.engine.checkpoint import Checkpoint, open_checkpoint
from sensorium.engine.loader import collate, transform
from sensorium.engine.loop import Work
from sensorium.engine.norms import check_parts
from sensorium.engine.order import Order, mix
from sensorium.engine.state import load_weights
from sensorium.errors import MediaError, SensoriumError, UserError, unknown
from sensorium.experiment import Loaded, check
from sensorium.keypath import quoted
from sensorium.modules import nowhere, permitted
from sensorium.paths import expanded
from sensorium.plugins import Plugins
from sensorium.splits import Skipped, Subset, open_splits


@dataclass
class Assembly:
    """Everything that a run works on.

    Attributes:
        loaded: The experiment with its plugins.
        splits: Name -> split, limited and without what was skipped.
        modalities: Field -> modality, with what it learnt.
        task: The model, with initial weights.
        skipped: Split -> [index, why] of each sample left out because its media are broken.
    """

    loaded: Loaded
    splits: dict[str, Split]
    modalities: dict[str, Modality]
    task: Task
    skipped: Skipped

    def work(self) -> Work:
        """Returns what the engine works on."""
        experiment = self.loaded.experiment
        splits, steps = self.splits, experiment.training.steps
        if steps is not None:
            learnt_from = {experiment.training.plan(stage.name).split for stage in self.task.stages()}
            most = steps * experiment.training.global_batch
            splits = {
                name: split if name in learnt_from else Subset(split, range(min(len(split), most)))
                for name, split in splits.items()
            }
        return Work(
            task=self.task,
            splits=splits,
            fields=self.modalities,
            training=experiment.training,
            evaluation=experiment.evaluation,
            threads=experiment.run.threads,
            documents=documents(self.loaded, self.modalities),
            sharded=experiment.run.parallel == "fsdp",
        )

    def learnt(self) -> dict[str, Any]:
        """Returns what another process needs to assemble the same without looking at the data."""
        return {"modalities": states(self.modalities), "skipped": self.skipped}


def assemble(loaded: Loaded, learnt: Mapping[str, Any] | None = None) -> Assembly:
    """Opens the data, lets the modalities learn, builds the model and tries it on two samples.

    Args:
        loaded: The experiment.
        learnt: What `Assembly.learnt` returned in another process; nothing is tried then.

    Raises:
        UserError: Data are missing or broken, fields do not match, or parts do not fit together.
    """
    experiment = loaded.experiment
    dataset: Dataset = experiment.dataset.build()
    modalities: dict[str, Modality] = {name: config.build() for name, config in experiment.modalities.items()}
    _match_fields(dataset, modalities, loaded)
    skipped: Skipped = {} if learnt is None else dict(learnt["skipped"])
    splits = open_splits(dataset, modalities, skipped, experiment.run.threads, look=learnt is None)
    if "train" not in splits:
        raise UserError("The dataset has no split to train on.", f"It has {', '.join(splits)}.", "Give it `train`.")
    if experiment.evaluation.split not in splits:
        raise unknown("split", experiment.evaluation.split, splits, "evaluation.split")
    if learnt is None:
        known = trained.learnt(experiment.model)
        restore({name: each for name, each in modalities.items() if name in known}, known)
        _learn({name: each for name, each in modalities.items() if name not in known}, splits["train"])
    else:
        restore(modalities, learnt["modalities"])
    task = build_task(loaded, modalities)
    assembly = Assembly(loaded, splits, modalities, task, skipped)
    _check_training(assembly)
    if learnt is None:
        names = checks.used(task, experiment.training, experiment.evaluation)
        media = dataset.config.broken == "refuse"  # otherwise they have been read
        checks.look({name: splits[name] for name in names if name in splits}, modalities, experiment.run.threads, media)
        _try(assembly)
    return assembly


def build_task(loaded: Loaded, modalities: Mapping[str, Modality]) -> Task:
    """Returns the model with the initial weights of the run's seed.

    Raises:
        UserError: It wants a field of which the experiment has no modality.
    """
    torch.manual_seed(mix(loaded.experiment.run.seed))
    task: Task = loaded.experiment.model.build(_Modalities(modalities))
    return task


class _Modalities(dict[str, Modality]):
    """Those of an experiment; a task asks for its fields by name."""

    def __missing__(self, field: str) -> Modality:
        raise unknown("modality of the field", field, self, "modalities")


@dataclass
class Model:
    """A trained model: the task with its weights, ready to predict."""

    loaded: Loaded
    modalities: dict[str, Modality]
    task: Task
    checkpoint: Checkpoint


def load_model(folder: str | Path) -> Model:
    """Returns the model that lies in a local checkpoint or model folder.

    Raises:
        UserError: The folder is not a whole checkpoint, or its plugins are neither installed nor allowed.
    """
    checkpoint = open_checkpoint(expanded(folder))
    experiment = checkpoint.document("experiment")
    with nowhere():
        loaded = check(experiment, Plugins(permitted(experiment)))
        modalities: dict[str, Modality] = {n: config.build() for n, config in loaded.experiment.modalities.items()}
        restore(modalities, checkpoint.document("modalities"))
        task = build_task(loaded, modalities)
    load_weights(task, checkpoint.tensors("model"), str(folder))
    task.requires_grad_(False).eval()
    return Model(loaded, modalities, task, checkpoint)


def open_split(loaded: Loaded, modalities: Mapping[str, Modality], name: str) -> Split:
    """Returns one split of the experiment's dataset, limited and without broken media if it says so."""
    dataset: Dataset = loaded.experiment.dataset.build()
    _match_fields(dataset, modalities, loaded)
    splits = open_splits(dataset, modalities, {}, loaded.experiment.run.threads, look=True, only=name)
    if name not in splits:
        raise unknown("split", name, dataset.splits)
    return splits[name]


def documents(loaded: Loaded, modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Returns what each checkpoint holds beside tensors and position."""
    return {
        "experiment": loaded.plain(),
        "modalities": states(modalities),
        "plugins": loaded.plugins.versions,
    }


def states(modalities: Mapping[str, Modality]) -> dict[str, Any]:
    """Returns field -> what its modality has learnt."""
    return {name: modality.state() for name, modality in modalities.items()}


def restore(modalities: Mapping[str, Modality], saved: Mapping[str, Any]) -> None:
    """Gives modalities back what they had learnt.

    Raises:
        UserError: One's state is missing, or is none of its kind.
    """
    for name, modality in modalities.items():
        try:
            modality.restore(saved[name])
        except UserError:
            raise
        except Exception as cause:  # a state that somebody has changed fails anywhere in it
            raise UserError(
                f"What the modality {name!r} had learnt cannot be restored ({type(cause).__name__}: {cause}).",
                "It lies in modalities.json.",
                "Take another checkpoint.",
            ) from cause


def _match_fields(dataset: Dataset, modalities: Mapping[str, Modality], loaded: Loaded) -> None:
    for field, modality in modalities.items():
        if field not in dataset.fields:
            raise unknown("field", field, dataset.fields, f"modalities (the dataset is {type(dataset).__name__})")
        kind = dataset.fields[field]
        if kind != modality.form and not isinstance(modality, loaded.plugins.find("modality", kind)):
            raise UserError(
                f"The dataset's field {field!r} holds {kind}; the experiment reads it as {modality.form}.",
                "A field is read by a modality of its kind.",
                f"Set modalities.{quoted(field)}.name={kind}.",
            )


def _learn(modalities: Mapping[str, Modality], train: Split) -> None:
    for field, modality in modalities.items():
        if modality.learns:
            column = _Column(train, field)
            try:
                modality.fit(column)
            except MediaError as cause:
                raise checks.located(cause, "train", train, column.at, field) from cause


class _Column:
    """The values of a field, in order; `at` is the index of the last one that was asked for."""

    def __init__(self, split: Split, field: str) -> None:
        self.split, self.field, self.at = split, field, 0

    def __iter__(self) -> Iterator[Any]:
        for index in range(len(self.split)):
            self.at = index
            yield self.split[index][self.field]


def _check_training(assembly: Assembly) -> None:
    loose = [name for name, _ in assembly.task.named_parameters(recurse=False)]
    if loose:
        raise SensoriumError(
            f"The task {type(assembly.task).__name__} holds {', '.join(loose)} itself, where no objective trains them.",
            "Parameters belong to its parts.",
            "Put them into a module of their own.",
        )
    experiment, stages = assembly.loaded.experiment, assembly.task.stages()
    training = experiment.training
    optimizers.check(training.optimizer, "training.optimizer")
    if training.accumulate > 1:
        check_parts(assembly.task)
    by_name = {stage.name: [objective.name for objective in stage.objectives] for stage in stages}
    for name, own in training.stages.items():
        if name not in by_name:
            raise unknown("stage", name, by_name, "training.stages")
        if own.split not in assembly.splits:
            raise unknown("split", own.split, assembly.splits, f"training.stages.{name}.split")
        if own.optimizer is not None:
            optimizers.check(own.optimizer, f"training.stages.{name}.optimizer")
        for objective, optimizer in own.optimizers.items():
            if objective not in by_name[name]:
                raise unknown("objective", objective, by_name[name], f"training.stages.{name}.optimizers")
            optimizers.check(optimizer, f"training.stages.{name}.optimizers.{objective}")
    for plan in map(training.plan, by_name):
        Order(len(assembly.splits[plan.split]), plan.global_batch, experiment.run.seed)  # refuses less than a batch
    if training.early_stopping and ("validation" not in assembly.splits or not experiment.evaluation.epochs):
        raise UserError(
            "Early stopping has nothing to look at.",
            "It needs a validation split and evaluation.epochs above 0.",
            f"The dataset's splits are {', '.join(assembly.splits)}.",
        )
    most = experiment.run.workers if isinstance(experiment.run.workers, int) else experiment.run.workers[1]
    checks.names(assembly.task)
    checks.losses(assembly.task, training)
    least = min(training.plan(name).global_batch for name in by_name)
    if least < most * training.accumulate:
        raise UserError(
            f"The global batch of {least} cannot be cut among {most} workers and {training.accumulate} parts each.",
            "Each part needs a sample.",
            "Raise training.global_batch.",
        )


@torch.no_grad()
def _try(assembly: Assembly) -> None:
    """Sends two samples through every objective and the evaluation: what does not fit is known before Ray starts."""
    train = assembly.splits["train"]
    samples = [train[index] for index in range(min(2, len(train)))]
    batch = collate([(sample, transform(sample, assembly.modalities)) for sample in samples], assembly.modalities)
    task = assembly.task
    task.eval()
    try:
        for stage in task.stages():
            for objective in stage.objectives:
                objective.losses(objective.forward(batch), batch)
        task.rows(task(batch), batch)
        checks.norms(task, assembly.loaded.experiment.training, batch.split(2)[0])
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as cause:
        raise UserError(
            f"The parts of the model do not fit together: {type(cause).__name__}: {cause}.",
            "Two samples of the training split were sent through it.",
            "Compare the sizes in `modalities` and `model`; `--debug` shows where.",
        ) from cause
