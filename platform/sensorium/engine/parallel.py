"""A model over several workers: whole on each (DDP), or in shards (FSDP2)."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from sensorium.contracts import workers
from sensorium.contracts.data import Batch
from sensorium.contracts.task import Objective, Task


class Forward(nn.Module):
    """A task seen through the forward pass of one objective, as a module of its own."""

    def __init__(self, task: Task, objective: Objective) -> None:
        super().__init__()
        self.task = task
        self._forward = objective.forward

    def forward(self, batch: Batch) -> Any:
        """Returns the objective's outputs."""
        return self._forward(batch)


def replicate(task: Task, objective: Objective, device: torch.device) -> nn.Module:
    """Returns the objective's forward pass, with gradients averaged over workers by DDP.

    The parameters that require a gradient now are the ones that are averaged.
    """
    forward = Forward(task, objective)
    if workers.size() == 1:
        return forward
    ids = [device.index] if device.type == "cuda" else None
    return DistributedDataParallel(forward, device_ids=ids, gradient_as_bucket_view=True, forward_sync_buffers=False)


def shard(task: Task, device: torch.device) -> None:
    """Cuts the parameters of every part of a task, and of every block in its lists, among the workers.

    Each of W workers then holds 1/W of the parameters and of the optimizer's state.
    """
    mesh = dist.device_mesh.init_device_mesh(device.type, (workers.size(),))
    containers = (nn.ModuleList, nn.ModuleDict)
    blocks = [block for module in task.modules() if isinstance(module, containers) for block in module.children()]
    wanted = {id(module) for module in (*task.children(), *blocks) if not isinstance(module, containers)}
    for module in reversed(list(task.modules())):  # the inner ones first
        if id(module) in wanted and next(module.parameters(), None) is not None:
            fully_shard(module, mesh=mesh)
