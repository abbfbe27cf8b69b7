"""A model over several workers: whole on each (DDP), or in shards (FSDP2)."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

from sensorium.contracts import workers
from sensorium.contracts.task import Task


class Calls(nn.Module):
    """A task whose forward pass is a call of any function of it, its loss included."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.task = task

    def forward(self, function: Callable[..., Any], *args: Any) -> Any:
        """Returns what the function returns."""
        return function(*args)


def replicate(task: Task, device: torch.device) -> nn.Module:
    """Returns the task with gradients averaged over workers by DDP.

    The parameters that require a gradient now are the ones that are averaged. What a step does not
    use, on this worker or on any, is found from the result of the call.
    """
    if workers.size() == 1:
        return Calls(task)
    ids = [device.index] if device.type == "cuda" else None
    # DDP advises to leave the search out when all is used, but not every task can know.
    warnings.filterwarnings("ignore", "find_unused_parameters=True was specified", UserWarning)
    return DistributedDataParallel(
        Calls(task),
        device_ids=ids,
        find_unused_parameters=True,
        gradient_as_bucket_view=True,
        forward_sync_buffers=False,
    )


def shard(task: Task, device: torch.device) -> None:
    """Cuts the parameters of every part of a task, and of every block in its lists, among the workers.

    Each of W workers then holds 1/W of the parameters and of the optimizer's state; scalars, which
    have nothing to cut, stay whole.
    """
    mesh = dist.device_mesh.init_device_mesh(device.type, (workers.size(),))
    containers = (nn.ModuleList, nn.ModuleDict)
    blocks = [block for module in task.modules() if isinstance(module, containers) for block in module.children()]
    wanted = {id(module) for module in (*task.children(), *blocks) if not isinstance(module, containers)}
    scalars = {parameter for parameter in task.parameters() if parameter.ndim == 0}
    for module in reversed(list(task.modules())):  # the inner ones first
        if id(module) in wanted and any(parameter not in scalars for parameter in module.parameters()):
            # Always cut again after use, so that who lists the parameters meets the shards.
            fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)


def average(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces the gradients of what `shard` left whole by their mean over workers."""
    for parameter in parameters:
        if not isinstance(parameter, DTensor):
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = workers.add(gradient) / workers.size()


def clip(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Scales gradients down to an L2 norm, of all of them together, of `largest` at most."""
    kinds: dict[bool, list[nn.Parameter]] = defaultdict(list)  # torch sums up what is cut and what is whole apart
    for parameter in parameters:
        if parameter.grad is not None:
            kinds[isinstance(parameter, DTensor)].append(parameter)
    norms = [whole(nn.utils.get_total_norm([p.grad for p in kind if p.grad is not None])) for kind in kinds.values()]
    if norms:
        norm = torch.linalg.vector_norm(torch.stack(norms))
        for kind in kinds.values():
            nn.utils.clip_grads_with_norm_(kind, largest, norm)


def whole(tensor: Tensor) -> Tensor:
    """Returns a tensor as one piece; a collective call when it lies in shards."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
