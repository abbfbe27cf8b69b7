"""What may be changed of a run that is resumed: where and with what it is executed, not what it computes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.errors import UserError
from sensorium.experiment import keypath
from sensorium.experiment.settings import Experiment, Loaded

_FREE = (
    *("tracking", "evaluation", "plugins", "search", "training.checkpoints", "dataset.limit", "dataset.cache"),
    *(f"run.{name}" for name in ("threads", "workers", "resources", "max_failures", "timeout", "storage", "parallel")),
)
"""Options, with what lies below them, that change no weight of a run."""
_PLACES = ("root", "path", "folder", "file", "train", "validation", "test")
"""Options of a dataset that say where it lies, as it may have been moved."""


def check_changes(before: Loaded, after: Loaded) -> None:
    """Refuses to resume a run as another one.

    Args:
        before: The experiment as the run was started with it.
        after: The same with what the user has put over it.

    Raises:
        UserError: Something differs that decides what the run computes; names it.
    """
    old, new = _flat(before.plain()), _flat(after.plain())
    for path in [*new, *(path for path in old if path not in new)]:
        if old.get(path) != new.get(path) and (reason := _reason(path, before.experiment)):
            name = keypath.join(path)
            change = f"{name} is {old.get(path)!r} in this run, and cannot become {new.get(path)!r}"
            raise UserError(
                f"{change}: {reason}.",
                f"A resumed run takes changes of {', '.join(_FREE)}, and of where the dataset lies.",
                "Leave it out, or start a new run with it.",
            )


def _reason(path: tuple[str, ...], experiment: Experiment) -> str:
    """Returns why an option stays; empty if it may be changed."""
    judged = experiment.training.early_stopping is not None
    learnt_from = {"train", *(stage.split for stage in experiment.training.stages.values())}
    if path[:2] == ("dataset", "limit") and set(path[2:]) & learnt_from:
        return f"the run learns from the split {path[2]}"
    if judged and path in (("dataset", "limit", "validation"), ("evaluation", "epochs")):
        return "it decides when early stopping ends the training"
    if path[0] == "dataset" and len(path) == 2 and path[1] in _PLACES:
        return ""
    if any(path[: len(free)] == free for free in (tuple(option.split(".")) for option in _FREE)):
        return ""
    return "it decides what the run computes"


def _flat(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> dict[tuple[str, ...], Any]:
    """Returns nested options as path -> value."""
    flat: dict[tuple[str, ...], Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, (*above, key)) if isinstance(value, Mapping) else {(*above, key): value}
    return flat
