"""Where a training stands, and how it is read from a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from sensorium.engine.checkpoint import Checkpoint
from sensorium.errors import UserError


@dataclass
class Position:
    """Where a training stands. Everything random follows from it and the seed."""

    step: int = 0
    """Optimizer steps done in the run."""
    stage: int = 0
    """Number of the stage under way."""
    epoch: int = 0
    """Epoch of the stage under way."""
    done: int = 0
    """Steps done in the epoch under way."""
    best: float | None = None
    """Best metric so far of early stopping."""
    best_step: int | None = None
    """Step at which it was seen."""
    worse: int = 0
    """Evaluations since then."""


def read_position(checkpoint: Checkpoint, stages: int) -> Position:
    """Returns where a checkpoint's training stands.

    Args:
        checkpoint: The checkpoint.
        stages: Stages of the training.

    Raises:
        UserError: Its document lacks an entry, has one too many, or one of another type or beyond its bounds.
    """
    path, content = checkpoint.folder / "state.json", checkpoint.document("state")
    names = {field.name for field in fields(Position)}
    for name in sorted(names ^ content.keys()):
        there = "has" if name in content else "lacks"
        raise UserError(f"{path} {there} {name!r}.", f"Expected: {', '.join(sorted(names))}.", _HINT)
    for name, value in content.items():
        if not _fits(name, value):
            expected = "A number or null" if name == "best" else "A whole number, not negative,"
            raise UserError(f"{path}, {name}, is {value!r:.60}.", f"{expected} was expected.", _HINT)
    if content["stage"] > stages:
        raise UserError(f"{path}, stage, is {content['stage']}.", f"The training has {stages} stages.", _HINT)
    return Position(**content)


def _fits(name: str, value: Any) -> bool:
    if value is None:
        return name in ("best", "best_step")
    if name == "best":
        return type(value) in (int, float)
    return type(value) is int and value >= 0


_HINT = "Take another checkpoint."
