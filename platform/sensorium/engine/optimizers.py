"""Optimizers of torch by name, and learning rates as functions of the step."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from sensorium.contracts import workers
from sensorium.engine import groups
from sensorium.engine.settings import Optimizer, Schedule
from sensorium.errors import UserError, unknown

_UNFIT = {"Optimizer", "LBFGS", "Muon", "SparseAdam"}
"""The base class; and what needs a closure, matrices alone, sparse gradients."""

_FUSED = {"adam", "adamw", "sgd"}
"""What updates all parameters in one kernel of a GPU."""

_CLASSES: dict[str, Any] = {
    name.lower(): value
    for name, value in vars(torch.optim).items()
    if inspect.isclass(value) and issubclass(value, torch.optim.Optimizer) and name not in _UNFIT
}


def check(settings: Optimizer, where: str) -> None:
    """Refuses an optimizer that torch does not have, and options or values that it does not take.

    Raises:
        UserError: Says the nearest name, or what torch says.
    """
    if settings.name not in _CLASSES:
        raise unknown("optimizer", settings.name, _CLASSES, where)
    for name, part in settings.parts.items():
        check(groups.inside(settings, part), f'{where}.parts."{name}"')
    arguments = set(inspect.signature(_CLASSES[settings.name]).parameters)
    known = arguments - {"params", "lr", "weight_decay"}
    for option in settings.options:
        if option not in known:
            raise unknown(f"option of {settings.name}", option, known, f"{where}.options")
    if settings.weight_decay and "weight_decay" not in arguments:
        raise UserError(f"{settings.name} has no weight decay.", hint=f"Leave out {where}.weight_decay.")
    build(replace(settings, parts={}), {"tried": nn.Parameter(torch.zeros(1))})


def build(
    settings: Optimizer, parameters: Mapping[str, nn.Parameter], task: nn.Module | None = None
) -> torch.optim.Optimizer:
    """Returns the optimizer; parameters of fewer than two dimensions have no weight decay.

    Args:
        settings: Its name and options.
        parameters: Name -> parameter, as the model names them.
        task: The model, of which `settings.parts` names parts.

    Raises:
        UserError: The options do not fit, as the torch class says.
    """
    own = {} if task is None or not settings.parts else groups.by_part(settings, parameters, task)
    kinds: dict[str, tuple[Optimizer, bool, list[nn.Parameter]]] = {}
    for name, parameter in parameters.items():  # torch updates a group as one, which shards and whole ones cannot be
        options, decays = own.get(name, settings), parameter.ndim >= 2
        kind = str((decays, workers.is_cut(parameter), options))
        kinds.setdefault(kind, (options, decays, []))[2].append(parameter)
    found = [
        {"params": kind, "weight_decay": options.weight_decay if decays else 0.0}
        | ({"lr": options.lr, **options.options} if own else {})
        for options, decays, kind in kinds.values()
    ]
    given = dict(settings.options)
    on_gpu = all(parameter.device.type == "cuda" for parameter in parameters.values())
    if settings.name in _FUSED and on_gpu and not {"fused", "foreach", "capturable", "differentiable"} & set(given):
        given["fused"] = True
    try:
        optimizer: torch.optim.Optimizer = _CLASSES[settings.name](found, lr=settings.lr, **given)
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
