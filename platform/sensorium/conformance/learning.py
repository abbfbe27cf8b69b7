"""A training of seconds, on the right pairs and on shuffled ones: what a task is held to learn."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Sequence
from dataclasses import replace

import torch

from sensorium.assembly.build import Assembly, assemble, build_task
from sensorium.assembly.loading import load
from sensorium.assembly.splits import Subset
from sensorium.contracts.data import Sample
from sensorium.contracts.dataset import Split, sources_of
from sensorium.contracts.run import Outcome
from sensorium.engine.order import Sources
from sensorium.experiment.settings import Loaded
from sensorium.plugins import Plugins
from sensorium.training import runs
from sensorium.training.execution import execute

STEPS = 100
"""Optimizer steps of each stage, about; of a split no more samples are read than these take."""
MEASURED = 250
"""Samples of a split that are measured."""


class Trial:
    """A task's default experiment, cut down to seconds.

    Args:
        assembly: Of the whole experiment; the data are read once where `probe` changes nothing in it.
        name: The task's.
        plugins: Where it is registered.
    """

    def __init__(self, assembly: Assembly, name: str, plugins: Plugins) -> None:
        self.name, self.plugins = name, plugins
        self._folder = tempfile.TemporaryDirectory(prefix="sensorium-")
        self._probe = [f"{key}={json.dumps(value)}" for key, value in type(assembly.task).probe.items()]
        self._whole = assembled(name, plugins, *self._probe) if self._probe else assembly

    def train(self, shuffled: bool) -> Outcome:
        """Returns what comes of it, on the right pairs or on shuffled ones."""
        training, task = self._whole.loaded.experiment.training, self._whole.task
        plans = {stage.name: training.plan(stage.name) for stage in task.stages()}
        splits = {name: _first(split, MEASURED) for name, split in self._whole.splits.items()}
        for plan in plans.values():
            whole = self._whole.splits[plan.split]
            sizes = [other.global_batch for other in plans.values() if other.split == plan.split]
            most = max([*sizes, *(source.batch or 0 for source in sources_of(whole))])
            splits[plan.split] = _first(whole, STEPS * most)
        epochs = {}
        for name, plan in plans.items():
            steps = Sources(sources_of(splits[plan.split]), plan.global_batch, 0).steps
            if f"training.stages.{name}.epochs" not in type(task).probe:
                epochs[name] = min(plan.epochs, max(1, math.ceil(STEPS / steps)))
        if shuffled:
            fields = sorted(set(task.inputs) & set(self._whole.modalities))
            splits |= {plan.split: Shuffled(splits[plan.split], fields) for plan in plans.values()}
        overrides = [
            *self._probe,
            *(f"training.stages.{name}.epochs={count}" for name, count in epochs.items()),
            f"run.storage={self._folder.name}",
            "evaluation.contributions=false",
            "evaluation.epochs=0",
        ]
        loaded = loaded_with(self.name, self.plugins, *overrides)
        fresh = build_task(loaded, self._whole.modalities)
        part = replace(self._whole, loaded=loaded, splits=splits, task=fresh)
        return execute(part, runs.create(part, {}))


class Shuffled:
    """A split of which some fields are dealt out anew: what belongs together is torn apart.

    Args:
        split: The right one.
        fields: What is dealt out, among the samples of a source.
        together: Whether a sample gets all of them from one other, or each from another.
    """

    def __init__(self, split: Split, fields: Sequence[str], together: bool = False) -> None:
        self.split = split
        self.sources = sources_of(split)
        random = torch.Generator().manual_seed(0)
        deals = [self._dealt(random) for _ in fields]
        self.places = {name: deals[0] if together else deal for name, deal in zip(fields, deals, strict=True)}

    def _dealt(self, random: torch.Generator) -> list[int]:
        of_sources = ((each, torch.randperm(len(each.indices), generator=random).tolist()) for each in self.sources)
        return [source.indices[place] for source, places in of_sources for place in places]

    def __len__(self) -> int:
        return len(self.split)

    def __getitem__(self, index: int) -> Sample:
        sample = self.split[index]
        others = {name: self.split[places[index]][name] for name, places in self.places.items() if name in sample}
        return {**sample, **others}


def assembled(name: str, plugins: Plugins, *overrides: str) -> Assembly:
    """Returns a task's default experiment with its data."""
    return assemble(loaded_with(name, plugins, *overrides))


def loaded_with(name: str, plugins: Plugins, *overrides: str) -> Loaded:
    """Returns a task's default experiment with overrides, at its whole length."""
    whole = "training.steps=null"  # whatever SENSORIUM_STEPS says: a check is as long as it has to be
    return load(name, [f"plugins={json.dumps(plugins.modules)}", whole, *overrides], plugins)


def _first(split: Split, most: int) -> Split:
    """Returns the first samples of each source of a split, so many at most."""
    kept = [index for source in sources_of(split) for index in source.indices[:most]]
    return split if len(kept) == len(split) else Subset(split, kept)
