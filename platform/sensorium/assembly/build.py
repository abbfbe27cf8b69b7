"""An experiment made into objects: splits, modalities, a task; and a trained model loaded."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sensorium.assembly import base, checks, trained
from sensorium.assembly.fields import match_fields, match_followers
from sensorium.assembly.splits import Skipped, Subset, open_splits
from sensorium.contracts.data import Batch, check_rows
from sensorium.contracts.dataset import Dataset, Split, narrow, sources_of
from sensorium.contracts.modality import Modality
from sensorium.contracts.reading import batch_of
from sensorium.contracts.task import Task, learning_from
from sensorium.engine import optimizers, speed
from sensorium.engine.checkpoint import Checkpoint, open_checkpoint
from sensorium.engine.evaluation import rows_of
from sensorium.engine.loop import Work
from sensorium.engine.norms import check_parts
from sensorium.engine.order import Sources, mix
from sensorium.engine.packing import pack
from sensorium.errors import MediaError, SensoriumError, UserError, unknown
from sensorium.experiment.keypath import quoted
from sensorium.experiment.reading import check
from sensorium.experiment.settings import Experiment, Loaded
from sensorium.modules import nowhere, permitted
from sensorium.paths import expanded
from sensorium.plugins import Plugins


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
    modalities = build_modalities(experiment)
    match_fields(dataset, modalities, loaded)
    match_followers(modalities)
    skipped: Skipped = {} if learnt is None else dict(learnt["skipped"])
    splits = open_splits(dataset, modalities, skipped, experiment.run.threads, look=learnt is None)
    if "train" not in splits:
        raise UserError("The dataset has no split to train on.", f"It has {', '.join(splits)}.", "Give it `train`.")
    for name in experiment.evaluation.finally_on:
        if name not in splits:
            raise unknown("split", name, splits, "evaluation.split")
        if len(sources_of(splits[name])) > 1:
            raise UserError(
                f"The split {name!r} (evaluation.split) joins several sources, whose samples differ in their fields.",
                f"Splits of one source were expected; there are {', '.join(splits)}.",
                "Name those of the sources.",
            )
    evaluated = (
        () if experiment.training.early_stopping else checks.measured(experiment.training, experiment.evaluation)
    )
    for name in evaluated:
        if name not in splits:
            raise UserError(
                f"There is no split {name!r} to evaluate on between epochs (evaluation.during).",
                f"The dataset has {', '.join(splits)}.",
                "Set evaluation.during to one of them, dataset.holdout=0.1 to keep some samples apart,"
                " or evaluation.epochs=0.",
            )
    if learnt is None:
        known = trained.learnt(experiment.model)
        restore({name: each for name, each in modalities.items() if name in known}, known)
        _learn({name: each for name, each in modalities.items() if name not in known}, splits["train"])
    else:
        restore(modalities, learnt["modalities"])
    task = build_task(loaded, modalities)
    assembly = Assembly(loaded, splits, modalities, task, skipped)
    with base.adapted(task):
        _check_training(assembly)
        if learnt is None:
            names = checks.used(task, experiment.training, experiment.evaluation)
            media = dataset.config.broken == "refuse"  # otherwise they have been read
            read = {name: splits[name] for name in names if name in splits}
            checks.look(read, modalities, experiment.run.threads, media)
            _try(assembly)
    return assembly


def build_modalities(experiment: Experiment) -> dict[str, Modality]:
    """Returns field -> what reads it, one for several fields where they share it.

    Raises:
        UserError: A field is to share what is not there.
    """
    modalities: dict[str, Modality] = {name: config.build() for name, config in experiment.modalities.items()}
    for name, other in experiment.shared.items():
        if other not in experiment.modalities:
            raise unknown("field", other, experiment.modalities, f"shared.{quoted(name)}")
        if name in experiment.modalities:
            raise UserError(
                f"The field {name!r} has a modality of its own, and is to share that of {other!r}.",
                "It has one of both.",
                f"Leave out modalities.{quoted(name)} or shared.{quoted(name)}.",
            )
        modalities[name] = modalities[other]
    return modalities


def build_task(loaded: Loaded, modalities: Mapping[str, Modality]) -> Task:
    """Returns the model with the initial weights of the run's seed.

    Raises:
        UserError: It wants a field of which the experiment has no modality, or does not fit into memory.
    """
    torch.manual_seed(mix(loaded.experiment.run.seed))
    with _in_memory():
        task: Task = loaded.experiment.model.build(_Modalities(modalities))
    return task


@contextlib.contextmanager
def _in_memory() -> Iterator[None]:
    """Says of sizes that no memory holds which they are.

    Raises:
        UserError: Tensors are too large.
    """
    try:
        yield
    except (RuntimeError, MemoryError, OverflowError) as cause:
        asked = re.search(r"allocate (\d+) bytes|overflowed with (sizes=\[[^]]*\])", str(cause))
        if asked is None and not isinstance(cause, (MemoryError, OverflowError)):
            raise
        size = f": {int(asked[1]) / 1e9:,.0f} GB at once" if asked and asked[1] else f": {asked[2]}" if asked else ""
        raise UserError(
            f"The model does not fit into memory{size}.",
            "Parts, and two samples, that this machine holds were expected.",
            "Set smaller sizes in `model` and `modalities`.",
        ) from cause


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
        modalities = build_modalities(loaded.experiment)
        restore(modalities, checkpoint.document("modalities"))
        task = build_task(loaded, modalities)
    base.load(task, checkpoint, str(folder))
    task.requires_grad_(False).eval()
    return Model(loaded, modalities, task, checkpoint)


def open_split(loaded: Loaded, modalities: Mapping[str, Modality], name: str) -> Split:
    """Returns one split of the experiment's dataset, limited and without broken media if it says so."""
    dataset: Dataset = loaded.experiment.dataset.build()
    match_fields(dataset, modalities, loaded)
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


def _learn(modalities: Mapping[str, Modality], train: Split) -> None:
    fields: dict[int, list[str]] = {}
    for field, modality in modalities.items():
        fields.setdefault(id(modality), []).append(field)
    for modality in {id(each): each for each in modalities.values()}.values():
        if modality.learns:
            column = _Column(train, fields[id(modality)])
            try:
                modality.fit(column)
            except MediaError as cause:
                raise checks.located(cause, "train", train, column.at, column.field) from cause


class _Column:
    """The values of fields that share a modality, in order; `at` and `field` are those of the last one asked for."""

    def __init__(self, split: Split, fields: Sequence[str]) -> None:
        self.split, self.fields, self.at, self.field = narrow(split, fields), fields, 0, fields[0]

    def __iter__(self) -> Iterator[Any]:
        for source in sources_of(self.split):
            there = [field for field in self.fields if source.reads(field)]
            for index in source.indices if there else ():
                self.at = index
                sample = self.split[index]
                for self.field in there:
                    yield sample[self.field]


def _is_trained_already(task: Task, stage: str) -> bool:
    """Returns whether a stage is one of an inner task that starts from weights."""
    part = dict(task.named_modules()).get(stage.partition("/")[0])
    return isinstance(part, Task) and part.config.weights is not None


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
    if training.compile is not None:
        speed.check_backend(training.compile)
    if training.accumulate > 1:
        check_parts(assembly.task)
    by_name = {stage.name: [objective.name for objective in stage.objectives] for stage in stages}
    for name, own in training.stages.items():
        if name not in by_name:
            if _is_trained_already(assembly.task, name):
                continue  # its weights are given, and with them its stages are gone
            raise unknown("stage", name, by_name, "training.stages")
        if own.split not in assembly.splits:
            raise unknown("split", own.split, assembly.splits, f"training.stages.{name}.split")
        if own.optimizer is not None:
            optimizers.check(own.optimizer, f"training.stages.{name}.optimizer")
        for objective, optimizer in own.optimizers.items():
            if objective not in by_name[name]:
                raise unknown("objective", objective, by_name[name], f"training.stages.{name}.optimizers")
            optimizers.check(optimizer, f"training.stages.{name}.optimizers.{objective}")
    checks.parts(assembly.task, training)
    if not by_name:
        return  # nothing is trained
    checks.sources(assembly.task, training, assembly.splits)
    for plan in map(training.plan, by_name):
        Sources(sources_of(assembly.splits[plan.split]), plan.global_batch, experiment.run.seed)  # refuses too few
    during = experiment.evaluation.meanwhile_on
    if training.early_stopping and (not set(during) <= set(assembly.splits) or not experiment.evaluation.epochs):
        raise UserError(
            "Early stopping has nothing to look at.",
            f"It needs the split {' and '.join(during)} (evaluation.during) and evaluation.epochs above 0.",
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


def _two_of_each(split: Split, modalities: Mapping[str, Modality]) -> Iterator[Batch]:
    """Yields a batch of two samples of each source of a split."""
    for source in sources_of(split):
        yield batch_of(split, source, modalities, range(min(2, len(source.indices))))


@torch.no_grad()
def _try(assembly: Assembly) -> None:
    """Sends two samples through every objective and the evaluation: what does not fit is known before Ray starts."""
    try:
        with _in_memory():
            _pass(assembly)
    except (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError) as cause:
        raise UserError(
            f"The parts of the model do not fit together: {type(cause).__name__}: {cause}.",
            "Two samples of each split that is used were sent through it.",
            "Compare the sizes in `modalities` and `model`; `--debug` shows where.",
        ) from cause


def _pass(assembly: Assembly) -> None:
    task, experiment = assembly.task, assembly.loaded.experiment
    training, evaluation = experiment.training, experiment.evaluation
    task.eval()
    for stage in task.stages():
        for batch in _two_of_each(assembly.splits[training.plan(stage.name).split], assembly.modalities):
            for objective in learning_from(stage, batch.source):
                outputs = objective.forward(batch)
                check_rows(f"What `forward` of the objective {objective.name!r} returns", outputs, len(batch))
                objective.losses(outputs, batch)
            checks.norms(task, training, stage, batch.split(2)[0])
    for name in checks.measured(training, evaluation):
        for batch in _two_of_each(assembly.splits[name], assembly.modalities):
            pack(rows_of(task, batch))  # as workers send them
