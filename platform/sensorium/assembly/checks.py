"""What can be known before the first step: samples that cannot be used, and settings that cannot learn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sensorium.contracts.data import Batch, Sample
from sensorium.contracts.dataset import Split, narrow, place_of, source_at, sources_of
from sensorium.contracts.modality import Modality
from sensorium.contracts.parts import Loss, given_in
from sensorium.contracts.task import Stage, Task, learning_from
from sensorium.engine import groups
from sensorium.engine.permutation import Permutation
from sensorium.engine.settings import Evaluation, Training
from sensorium.engine.step import parameters_of
from sensorium.engine.storage import AT_ONCE, awaited
from sensorium.errors import MediaError, UserError, unknown

OWN = ("id", "error")
"""Columns of answers to many questions that are not outputs."""
MOST = 100_000
"""Samples of a split up to which each is looked at; of more, so many are drawn."""


def names(task: Task) -> None:
    """Refuses a name that the answers to many questions have for a column of their own.

    Raises:
        UserError: An output has it.
    """
    for name in OWN:
        if name in task.outputs:
            raise UserError(
                f"The model tells {name!r}.",
                f"Answers to many questions have columns {' and '.join(OWN)} of their own.",
                "Rename the field in the data, in `modalities` and in `model`.",
            )


def used(task: Task, training: Training, evaluation: Evaluation) -> list[str]:
    """Returns the names of the splits that a training reads."""
    learnt = [training.plan(stage.name).split for stage in task.stages()]
    return list(dict.fromkeys([*learnt, *measured(training, evaluation)]))


def measured(training: Training, evaluation: Evaluation) -> list[str]:
    """Returns the names of the splits that the model is evaluated on."""
    meanwhile = evaluation.meanwhile_on if evaluation.epochs or training.early_stopping else ()
    return list(dict.fromkeys([*meanwhile, *evaluation.finally_on]))


def look(splits: Mapping[str, Split], modalities: Mapping[str, Modality], threads: int, media: bool = True) -> None:
    """Reads what will be read in training and evaluation: each value is decoded, and is one that was learnt.

    What a dataset makes in memory, such as an array of pixels, is not looked at.

    Args:
        splits: Name -> split.
        modalities: Field -> modality, with what it learnt.
        threads: Number of threads that decode files.
        media: Whether files are decoded; without, only values that stand in the data itself are looked at.

    Raises:
        MediaError: A value cannot be used; names split, place, sample and field, and how many there are.
    """
    for name, split in splits.items():
        faults = _faults(split, modalities, threads, media)
        first = next(faults, None)
        if first is not None:
            index, field, cause = first
            others = len({index for index, _, _ in faults} - {index})
            raise located(cause, name, split, index, field, others)


def located(cause: MediaError, name: str, split: Split, index: int, field: str, others: int = 0) -> MediaError:
    """Returns the error for a value that cannot be used, with where it stands."""
    sample = split[index]
    place = place_of(split, index)
    more = f" So it is with {others} more samples of the split." if others else ""
    return MediaError(
        f"Split {name!r}, {f'{place}, ' if place else ''}sample {sample['id']}, field {field!r}: {cause.wrong}{more}",
        cause.expected,
        cause.hint,
    )


def sources(task: Task, training: Training, splits: Mapping[str, Split]) -> None:
    """Refuses a stage with an objective for a source that is not there, or a source that no objective learns from.

    Raises:
        UserError: Names both.
    """
    for stage in task.stages():
        there = [source.name for source in sources_of(splits[training.plan(stage.name).split])]
        for objective in stage.objectives:
            if objective.source is not None and objective.source not in there:
                raise unknown("source", objective.source, there, f"the objective {objective.name!r}")
        if any(objective.source is None for objective in stage.objectives):
            continue
        idle = [name for name in there if name not in {objective.source for objective in stage.objectives}]
        if idle:
            raise UserError(
                f"Nothing learns from the source {idle[0]!r} in the stage {stage.name!r}.",
                "Each source needs an objective.",
                "Leave it out of dataset.sources, or give the stage another split.",
            )


def parts(task: Task, training: Training) -> None:
    """Refuses an objective of which nothing is trained, and optimizer options for a part that none trains.

    Raises:
        UserError: Names the objective, or the part and where it stands.
    """
    trained: dict[int, set[str]] = defaultdict(set)
    places = {id(training.optimizer): (training.optimizer, "training.optimizer")}
    for stage in task.stages():
        plan, key = training.plan(stage.name), f"training.stages.{stage.name}"
        for objective in stage.objectives:
            names = parameters_of(task, objective).keys()
            if not names and given_in(task):
                raise UserError(
                    f"The objective {objective.name!r} has nothing to train.",
                    f"All of {', '.join(objective.updates)} is frozen.",
                    "Set fine_tune of its encoder to lora or full.",
                )
            optimizer = plan.optimizer_of(objective.name)
            of_objective = objective.name in plan.optimizers
            where = f"{key}.optimizers.{objective.name}" if of_objective else f"{key}.optimizer"
            places.setdefault(id(optimizer), (optimizer, where))
            trained[id(optimizer)] |= names
    for number, (optimizer, where) in places.items():
        groups.check(optimizer, where, task, trained[number])


def losses(task: Task, training: Training) -> None:
    """Refuses a loss over pairs with batches of one, in which there is nothing to compare.

    Raises:
        UserError: Names the stage.
    """
    if not any(isinstance(module, Loss) and module.form == "pairs" for module in task.modules()):
        return
    for stage in task.stages():
        if training.plan(stage.name).global_batch < 2:
            raise UserError(
                f"The global batch of the stage {stage.name!r} is 1; a loss over pairs compares each with the others.",
                "At least 2 samples were expected.",
                _advice(training, stage),
            )


@torch.no_grad()
def norms(task: Task, training: Training, stage: Stage, one: Batch) -> None:
    """Refuses batch normalisation that would see a single value of each channel: a vector, in batches of one.

    Args:
        task: The model, in evaluation mode, in which normalisation learns nothing.
        training: How it will be trained.
        stage: A stage of it.
        one: A sample of the stage's split.

    Raises:
        UserError: Names the stage and the normalisation.
    """
    if training.plan(stage.name).global_batch > 1:
        return
    objectives = learning_from(stage, one.source)
    updated = {name for objective in objectives for name in objective.updates}
    named = {f"{part}.{name}": each for part in updated for name, each in task.get_submodule(part).named_modules()}
    hooks = [
        module.register_forward_pre_hook(partial(_refuse_one_value, training, stage, name.rstrip(".")))
        for name, module in named.items()
        if isinstance(module, _BatchNorm)
    ]
    try:
        for objective in objectives if hooks else ():
            objective.losses(objective.forward(one), one)
    finally:
        for hook in hooks:
            hook.remove()


def _refuse_one_value(training: Training, stage: Stage, name: str, module: nn.Module, given: tuple[Tensor]) -> None:
    if given[0].numel() == given[0].shape[1]:
        raise UserError(
            f"The global batch of the stage {stage.name!r} is 1; the batch normalisation {name!r} would see a single"
            " value of each channel.",
            "At least 2 samples were expected, which it compares.",
            _advice(training, stage),
        )


def _advice(training: Training, stage: Stage) -> str:
    own = training.stages.get(stage.name)
    key = f"training.stages.{stage.name}" if own is not None and own.global_batch else "training"
    return f"Set {key}.global_batch=2, or more."


def _faults(
    split: Split, modalities: Mapping[str, Modality], threads: int, media: bool
) -> Iterator[tuple[int, str, MediaError]]:
    """Yields index, field and cause of what cannot be used, in the order of the split."""
    indices = _chosen(len(split))
    by_source = {}

    def at(index: int) -> Sample:
        sample: Sample = awaited(f"sample {index}", partial(split.__getitem__, index), AT_ONCE)
        return sample

    for source in sources_of(split):
        reads = {name: modality for name, modality in modalities.items() if source.reads(name)}
        by_source[source.name] = _readable(at(source.indices[0]), reads, media)
    named = {field for fields in by_source.values() for field in fields}
    if not named:
        return
    split = narrow(split, named)
    files = {field for field in named if modalities[field].accepts}
    seen: set[tuple[str, str]] = set()

    def fault(index: int) -> tuple[int, str, MediaError] | None:
        sample = at(index)
        for field in by_source[source_at(split, index).name]:
            modality, raw = modalities[field], sample[field]
            if field in files and isinstance(raw, str):
                if (field, raw) in seen:  # a picture with five captions
                    continue
                seen.add((field, raw))
            try:
                value = awaited(f"sample {index}", partial(modality.decode, raw), AT_ONCE)
                # To transform a picture takes longer than to decode it, and tells no more.
                if field not in files and modality.follows is None:
                    modality.transform(value, None)
            except MediaError as cause:
                return index, field, cause
        return None

    if not files:
        yield from filter(None, map(fault, indices))
        return
    pool = ThreadPoolExecutor(threads or 1)
    try:
        yield from filter(None, pool.map(fault, indices))
    finally:  # also when the user has had enough of it
        pool.shutdown(cancel_futures=True)


def _chosen(count: int) -> Sequence[int]:
    if count <= MOST:
        return range(count)
    return sorted(Permutation(count, 0).at(range(MOST)).tolist())


def _readable(sample: Mapping[str, Any], modalities: Mapping[str, Modality], media: bool) -> list[str]:
    """Returns the fields whose values come from outside: files, and what stands in a table."""
    fields = []
    for field, modality in modalities.items():
        raw = sample[field]
        first = raw[0] if isinstance(raw, tuple) and raw else raw
        if not modality.accepts or (media and isinstance(first, (str, Path, bytes))):
            fields.append(field)
    return fields
