"""All tasks that come along, each with a default experiment cut down to seconds."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.plugins import Plugins

BATCH = 16
CALM = 0.05
"""Share of the learning rates. At the full ones the two players of a GAN make a difference in the last digit ten times
larger with each step, and what is compared would be that, not the mathematics."""
HELD = 16
"""Samples of the split that is measured."""
LEARNT, WORDS = 160, 640
"""Samples of a split that is learnt from, as far as the steps go; and enough to know all words, where there are any."""


def tasks() -> list[str]:
    """Returns the names of the tasks that come along."""
    plugins = Plugins()
    ours = {point.name for point in entry_points(group="sensorium") if point.value.startswith("sensorium_")}
    return [name for name in plugins.names("task") if plugins.entries["task"][name].plugin in ours]


def shortened(task: str, steps: int, *more: str) -> list[str]:
    """Returns overrides with which a task trains about so many steps over all its stages, without dropout."""
    loaded = load(task)
    experiment = loaded.experiment
    splits = experiment.dataset.build().splits
    few = f"dataset.limit={json.dumps(dict.fromkeys(splits, WORDS))}"
    assembly = assemble(load(task, [few, "training.global_batch=8", *_stages(loaded, 8)]))
    each = math.ceil(steps / len(assembly.task.stages()))
    plain = loaded.plain()
    labels = [name for name, each in plain["modalities"].items() if each["name"] == "label"]
    words = any(each.learns for name, each in assembly.modalities.items() if name not in labels)
    dropouts = [f"{path}=0.0" for path in _found(plain["model"], "model", "dropout")]
    rates = [f"{path}={CALM * lr}" for path, lr in _found(plain["training"], "training", "lr").items()]
    measured = {*experiment.evaluation.finally_on, *experiment.evaluation.meanwhile_on, "test", "validation"}
    learnt = max(WORDS if words else LEARNT, each * BATCH)
    during = experiment.evaluation.during  # a task that names several splits learns from what is measured on them
    meanwhile = "" if isinstance(during, str) else f", during: {json.dumps(during)}, epochs: 1"
    limits = {name: HELD if name in measured else learnt for name in splits}
    return [
        f"dataset.limit={json.dumps(limits)}",
        *(f"modalities.{name}.unknown=ignore" for name in labels),  # so few samples lack some
        f"training.global_batch={BATCH}",
        f"training.steps={each}",
        *_stages(loaded, BATCH),
        *dropouts,
        *rates,
        "training.checkpoints={epochs: 1000}",
        f"evaluation={{batch: 16, split: {experiment.evaluation.finally_on[0]}{meanwhile}}}",
        "tracking.system=false",
        *more,
    ]


def _stages(loaded: Any, batch: int) -> list[str]:
    named = loaded.experiment.training.stages
    return [f"training.stages.{name}.global_batch={batch}" for name, own in named.items() if own.global_batch]


def _found(node: Any, place: str, name: str) -> dict[str, float]:
    """Returns key.path -> value of the numbers whose keys end so."""
    items: Any = ()
    if isinstance(node, Mapping):
        items = node.items()
    elif isinstance(node, list):
        items = list(enumerate(node))
    found = {f"{place}.{key}": each for key, each in items if str(key).endswith(name) and isinstance(each, float)}
    for key, each in items:
        found |= _found(each, f"{place}.{key}", name)
    return found
