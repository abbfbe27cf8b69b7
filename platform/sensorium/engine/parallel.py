"""A model over several workers: whole on each (DDP), or in shards (FSDP2)."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
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


def device() -> torch.device:
    """Returns the GPU that this process is to use, else the processor."""
    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def replicate(task: Task, device: torch.device, search: bool = True) -> nn.Module:
    """Returns the task with gradients averaged over workers by DDP.

    The parameters that require a gradient now are the ones that are averaged.

    Args:
        task: The model.
        device: Where it lies.
        search: Whether to find, from the result of each call, what the step does not use, on this worker or on any;
            else each step uses all of them on every worker.
    """
    if workers.size() == 1:
        return Calls(task)
    ids = [device.index] if device.type == "cuda" else None
    # A hint where a step leaves nothing out; the next one may.
    warnings.filterwarnings("ignore", "find_unused_parameters=True was specified")
    return DistributedDataParallel(
        Calls(task),
        device_ids=ids,
        find_unused_parameters=search,
        gradient_as_bucket_view=True,
        forward_sync_buffers=False,
    )


def shard(task: Task, device: torch.device) -> None:
    """Cuts the parameters of a task among the workers: of every part, also of inner tasks, and of blocks in lists.

    Each of W workers then holds 1/W of the parameters and of the optimizer's state; scalars, which
    have nothing to cut, stay whole.
    """
    from torch.distributed.fsdp import fully_shard

    mesh = dist.device_mesh.init_device_mesh(device.type, (workers.size(),))
    containers = (nn.ModuleList, nn.ModuleDict, Task)  # whose parts are asked by themselves
    blocks = [block for module in task.modules() if isinstance(module, containers) for block in module.children()]
    wanted = {id(module) for module in (*task.children(), *blocks) if not isinstance(module, containers)}
    scalars = {parameter for parameter in task.parameters() if parameter.ndim == 0}
    for module in reversed(list(task.modules())):  # the inner ones first
        if id(module) in wanted and any(parameter not in scalars for parameter in module.parameters()):
            # Always cut again after use, so that who lists the parameters meets the shards.
            fully_shard(module, mesh=mesh, reshard_after_forward=True, ignored_params=scalars)


def average(parameters: Iterable[nn.Parameter]) -> None:
    """Replaces the gradients of what `shard` left whole by their mean over workers; what none has used keeps none.

    A zero in its place would have an optimizer with momentum or decay move it.
    """
    uncut = [parameter for parameter in parameters if not workers.is_cut(parameter)]
    if not uncut:
        return
    given = torch.tensor([parameter.grad is not None for parameter in uncut], dtype=torch.float32)
    used = workers.add(given.to(uncut[0].device)).tolist()
    for parameter, count in zip(uncut, used, strict=True):
        if count:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            parameter.grad = workers.add(gradient) / workers.size()


def clip(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Scales gradients down to an L2 norm, of all of them together, of `largest` at most."""
    kinds: dict[bool, list[nn.Parameter]] = defaultdict(list)  # torch sums up what is cut and what is whole apart
    for parameter in parameters:
        if parameter.grad is not None:
            kinds[workers.is_cut(parameter)].append(parameter)
    norms = [
        workers.whole(nn.utils.get_total_norm([p.grad for p in kind if p.grad is not None])) for kind in kinds.values()
    ]
    if norms:
        norm = torch.linalg.vector_norm(torch.stack(norms))
        for kind in kinds.values():
            nn.utils.clip_grads_with_norm_(kind, largest, norm)
