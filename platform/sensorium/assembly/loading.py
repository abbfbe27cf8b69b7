"""An experiment from its file, with what the trained models that it starts from say about themselves."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence

from sensorium.assembly import trained
from sensorium.assembly.suited import suited
from sensorium.errors import UserError
from sensorium.experiment.overrides import override
from sensorium.experiment.reading import check, read, with_modules
from sensorium.experiment.settings import Loaded
from sensorium.modules import permitted
from sensorium.plugins import Plugins
from sensorium.tracking import models

STEPS = "SENSORIUM_STEPS"
"""Caps the steps of each stage of every training, so that the commands of a document take seconds."""


def load(source: str, overrides: Sequence[str] = (), plugins: Plugins | None = None) -> Loaded:
    """Reads a task's default experiment, a file, or what a run's record holds, with `key.path=value` put over it.

    Args:
        source: Name of a task, path of a file, or `runs:/RUN_ID`.
        overrides: What is put over it.
        plugins: Those that there are, if they are known.

    Raises:
        UserError: A name, a key or a type is wrong; says where and what would be right. Or a record that somebody
            else may have written lists a module that is neither installed nor allowed.
    """
    if source.startswith("runs:/"):
        recorded = override(models.experiment(source), [*_shortened(), *overrides])
        plugins = Plugins(permitted(recorded, overrides))
        return check(suited(trained.completed(recorded, plugins), plugins), plugins)
    if run := re.fullmatch(r"(?:run:/{1,2})?([0-9a-f]{32})", source):
        raise UserError(
            f"There is no task {source!r}.",
            "A run's record is named runs:/RUN_ID.",
            f"Did you mean 'runs:/{run[1]}'?",
        )
    own = override({}, [item for item in overrides if item.partition("=")[0].strip() == "plugins"])
    plugins = with_modules(plugins or Plugins(), own)  # before the task is looked for, which may be one of theirs
    data = override(read(source, plugins), [*_shortened(), *overrides])
    plugins = with_modules(plugins, data)
    return check(suited(trained.completed(data, plugins), plugins), plugins)


def _shortened() -> list[str]:
    """Returns the override that the variable SENSORIUM_STEPS stands for."""
    steps = os.environ.get(STEPS)
    if not steps:
        return []
    if not steps.isdecimal() or not int(steps):
        raise UserError(f"{STEPS} is {steps!r}.", "It is the most steps that each stage takes.", "Set or unset it.")
    return [f"training.steps={steps}"]
