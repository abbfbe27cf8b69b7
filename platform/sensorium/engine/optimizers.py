"""Optimizers of torch by name, and learning rates as functions of the step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from sensorium.engine.settings import Optimizer, Schedule
from sensorium.errors import UserError, unknown

_CLASSES: dict[str, Any] = {
    name.lower(): value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and value is not torch.optim.Optimizer
}


def check(settings: Optimizer, where: str) -> None:
    """Refuses an optimizer that torch does not have, and options that it does not take.

    Raises:
        UserError: Says the nearest name.
    """
    if settings.name not in _CLASSES:
        raise unknown("optimizer", settings.name, _CLASSES, where)
    known = set(inspect.signature(_CLASSES[settings.name]).parameters) - {"params", "lr", "weight_decay"}
    for option in settings.options:
        if option not in known:
            raise unknown(f"option of {settings.name}", option, known, f"{where}.options")


def build(settings: Optimizer, parameters: Mapping[str, nn.Parameter]) -> torch.optim.Optimizer:
    """Returns the optimizer; parameters of fewer than two dimensions have no weight decay.

    Raises:
        UserError: The options do not fit, as the torch class says.
    """
    decayed = [p for p in parameters.values() if p.ndim >= 2]
    spared = [p for p in parameters.values() if p.ndim < 2]
    groups: list[dict[str, Any]] = []
    if decayed:
        groups.append({"params": decayed, "weight_decay": settings.weight_decay})
    if spared:
        groups.append({"params": spared, "weight_decay": 0.0})
    try:
        optimizer: torch.optim.Optimizer = _CLASSES[settings.name](groups, lr=settings.lr, **settings.options)
    except (TypeError, ValueError, RuntimeError) as cause:
        raise UserError(f"The optimizer {settings.name} does not take these options: {cause}.") from cause
    return optimizer


def factor(schedule: Schedule, step: int, steps: int) -> float:
    """Returns the share of the learning rate at a step of a stage, from 0 to `steps` - 1.

    The rate rises linearly from 1/W to 1 over the W warm-up steps, then falls along a line or half
    a cosine (Loshchilov and Hutter 2017, SGDR, eq. 5) to `final`.
    """
    warmup = math.ceil(schedule.warmup * steps)
    if step < warmup:
        return (step + 1) / warmup
    if schedule.name == "constant":
        return 1.0
    done = (step - warmup) / max(steps - 1 - warmup, 1)
    left = 1 - done if schedule.name == "linear" else 0.5 * (1 + math.cos(math.pi * done))
    return schedule.final + (1 - schedule.final) * left
