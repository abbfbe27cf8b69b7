"""All tasks that come along, each with a default experiment cut down to seconds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points
from typing import Any

from sensorium.assembly import assemble
from sensorium.experiment import load
from sensorium.plugins import Plugins

BATCH = 16
HELD = 32
"""Samples of the split that is measured."""


def tasks() -> list[str]:
    """Returns the names of the tasks that come along."""
    plugins = Plugins()
    ours = {point.name for point in entry_points(group="sensorium") if point.value.startswith("sensorium_")}
    return [name for name in plugins.names("task") if plugins.entries["task"][name].plugin in ours]


def shortened(task: str, steps: int, *more: str) -> list[str]:
    """Returns overrides with which a task trains about so many steps over all its stages, without dropout."""
    loaded = load(task)
    experiment = loaded.experiment
    assembly = assemble(load(task, ["dataset.limit={train: 64}", "training.global_batch=8", *_stages(loaded, 8)]))
    stages = assembly.task.stages()
    each = math.ceil(steps / len(stages))
    dropouts = [f"{path}=0.0" for path in _dropouts(loaded.plain()["model"], "model")]
    return [
        f"dataset.limit={{train: {each * BATCH}, test: {HELD}, validation: {HELD}}}"
        if "validation" in assembly.splits
        else f"dataset.limit={{train: {each * BATCH}, test: {HELD}}}",
        f"training.global_batch={BATCH}",
        *(f"training.stages.{stage.name}.epochs=1" for stage in stages),
        *_stages(loaded, BATCH),
        *dropouts,
        "training.checkpoints={epochs: 1000}",
        f"evaluation={{batch: 16, split: {experiment.evaluation.split}}}",
        "tracking.system=false",
        *more,
    ]


def _stages(loaded: Any, batch: int) -> list[str]:
    named = loaded.experiment.training.stages
    return [f"training.stages.{name}.global_batch={batch}" for name, own in named.items() if own.global_batch]


def _dropouts(node: Any, place: str) -> Iterator[str]:
    items: Any = ()
    if isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, list):
        items = enumerate(node)
    for key, item in items:
        if str(key).endswith("dropout") and isinstance(item, float):
            yield f"{place}.{key}"
        yield from _dropouts(item, f"{place}.{key}")
