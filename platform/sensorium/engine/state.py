"""The state of a training as tensors and JSON, and back; whole also when the model lies in shards."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.contracts import workers
from sensorium.engine.step import Stepper
from sensorium.errors import UserError


def weights(model: nn.Module, without: Collection[str] = ()) -> dict[str, Tensor]:
    """Returns name -> tensor of all parameters and buffers but some."""
    named = model.state_dict().items()
    return {name: workers.whole(tensor.detach()) for name, tensor in named if name not in without}


@torch.no_grad()
def load_weights(model: nn.Module, saved: Mapping[str, Tensor], where: str, without: Collection[str] = ()) -> None:
    """Puts saved weights into a model, but for some, which it has already.

    Raises:
        UserError: Names or shapes differ from the model's.
    """
    own = {name: tensor for name, tensor in model.state_dict().items() if name not in without}
    names = sorted(set(own) ^ set(saved))
    shapes = [name for name in own if name in saved and own[name].shape != saved[name].shape]
    if names or shapes:
        differing = ", ".join([*names, *shapes][:5])
        raise UserError(
            f"The weights in {where} do not fit the model: {differing} differ.",
            "Both follow from the experiment in the same folder.",
            "Install the versions of the plugins that plugins.json names.",
        )
    for name, tensor in own.items():
        tensor.copy_(workers.cut_like(saved[name], tensor))


def optimizer_state(steppers: list[Stepper]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Returns the optimizers' tensors, `objective/parameter/what`, and what else they hold."""
    tensors: dict[str, Tensor] = {}
    scalars: dict[str, Any] = {"scaler": {}, "numbers": {}}
    for stepper in steppers:
        names = stepper.named()
        for parameter, state in stepper.optimizer.state.items():
            for key, value in state.items():
                place = f"{stepper.objective.name}/{names[id(parameter)]}/{key}"
                if isinstance(value, Tensor):
                    tensors[place] = workers.whole(value.detach())
                else:
                    scalars["numbers"][place] = value
        scalars["scaler"][stepper.objective.name] = stepper.scaler.state_dict()
    return tensors, scalars


def load_optimizer_state(
    steppers: list[Stepper], tensors: Mapping[str, Tensor], scalars: Mapping[str, Any], where: str
) -> None:
    """Puts back what `optimizer_state` returned.

    Raises:
        UserError: It is something else.
    """
    try:
        _load_optimizer_state(steppers, tensors, scalars)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError) as cause:  # torch checks little of it
        raise UserError(
            f"The optimizers' state in {where} cannot be restored ({type(cause).__name__}: {cause}).",
            "It lies in optimizer.json and optimizer.safetensors.",
            "Take another checkpoint.",
        ) from cause


def _load_optimizer_state(steppers: list[Stepper], tensors: Mapping[str, Tensor], scalars: Mapping[str, Any]) -> None:
    saved: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    for place, value in scalars["numbers"].items():
        if value is not None and not isinstance(value, (int, float)):
            raise TypeError(f"{place} is a {type(value).__name__}, not a number")
    for place, value in (*tensors.items(), *scalars["numbers"].items()):
        owner, _, key = place.rpartition("/")
        saved[owner][key] = value
    for stepper in steppers:
        optimizer, names = stepper.optimizer, stepper.named()
        parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        state = {}
        for number, parameter in enumerate(parameters):
            own = saved[f"{stepper.objective.name}/{names[id(parameter)]}"]
            state[number] = {key: _like(parameter, value) for key, value in own.items()}
        # torch's own loading knows what belongs on the device, and what stays a counter beside it.
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
        if scaler := scalars["scaler"][stepper.objective.name]:
            stepper.scaler.load_state_dict(scaler)


def _like(parameter: Tensor, value: Any) -> Any:
    return workers.cut_like(value, parameter) if isinstance(value, Tensor) and value.shape == parameter.shape else value
