"""Checks of a plugin that hears the events of a run: it handles each of them, in the order of a run."""

from __future__ import annotations

import tempfile
from typing import Any

import torch

from sensorium.contracts.run import Evaluation, Outcome, Run, Step
from sensorium.plugins import KINDS, Plugins


def heard(plugins: Plugins, plugin: str) -> list[str]:
    """Returns the hooks of events that a plugin has."""
    callers = plugins.manager.get_hookcallers(plugins.manager.get_plugin(plugin)) or []
    return sorted(caller.name for caller in callers if caller.name not in KINDS.values())


def hears_a_run(plugins: Plugins, plugin: str, hooks: list[str]) -> str:
    """Checks that the events of a made-up run raise nothing, at rank 0 and at another one."""
    others = [each for name, each in plugins.manager.list_name_plugin() if name != plugin and each is not None]
    with tempfile.TemporaryDirectory(prefix="sensorium-") as folder:
        for rank in (0, 1):
            for name, arguments in _events(folder, rank):
                if name in hooks:
                    plugins.manager.subset_hook_caller(name, others)(**arguments)
    return ", ".join(hooks)


def _events(folder: str, rank: int) -> list[tuple[str, dict[str, Any]]]:
    run = Run("made-up", folder, {"task": "made-up"}, seed=0, rank=rank, workers=2, steps=1)
    step = Step(1, "train", 0, {"train/loss": torch.tensor(0.5)}, {"train": 1e-3}, ["a", "b"], 4)
    first: list[tuple[str, dict[str, Any]]] = [
        ("sensorium_run_started", {"run": run}),
        ("sensorium_step_finished", {"run": run, "step": step}),
        ("sensorium_evaluated", {"run": run, "evaluation": Evaluation(1, "test", {"accuracy": 0.5})}),
    ]
    checkpoint: list[tuple[str, dict[str, Any]]] = [
        ("sensorium_checkpoint_begun", {"run": run, "step": 1}),
        ("sensorium_checkpoint_saved", {"run": run, "checkpoint": f"{folder}/checkpoint", "step": 1}),
    ]
    last: tuple[str, dict[str, Any]] = (
        "sensorium_run_finished",
        {"run": run, "outcome": Outcome("finished", {"accuracy": 0.5})},
    )
    return [*first, *(checkpoint if rank == 0 else []), last]
