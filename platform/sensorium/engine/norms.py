"""Batch normalisation over the global batch, so that the number of workers changes nothing.

torch's SyncBatchNorm does the same on GPUs alone.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from sensorium.contracts import workers
from sensorium.contracts.task import Task
from sensorium.errors import UserError


class _Sum(torch.autograd.Function):
    """Sum of a tensor over workers. Its gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        total = tensor.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].clone()
        dist.all_reduce(total)
        return total


class GlobalBatchNorm(_BatchNorm):
    """Batch normalisation (Ioffe and Szegedy 2015, algorithm 1) with the workers' joint statistics.

    Takes (B, C, ...) with any number of further dimensions.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Returns x normalised per channel C, same shape."""
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        mean, variance, count = _moments(wide)
        if self.track_running_stats and self.running_mean is not None:
            self._remember(mean.detach(), variance.detach(), count.detach())
        shape = [1, -1, *[1] * (x.ndim - 2)]
        normal = (wide - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normal.to(x.dtype)
        return result

    def _remember(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / (count - 1).clamp_min(1), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""


def _moments(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Returns mean, variance and number of values of each channel over all workers, (C,) each.

    Each worker's moments about its own mean are joined (Chan, Golub and LeVeque 1979): a mean
    of squares less the square of the mean would lose all digits of a channel far from 0.
    """
    dims = [d for d in range(x.ndim) if d != 1]
    variance, mean = torch.var_mean(x, dims, correction=0)
    own = torch.stack([mean, variance, torch.full_like(mean, x.numel() / x.shape[1])])  # (3, C)
    places = x.new_zeros(workers.size(), 1, 1)
    places[workers.rank()] = 1
    means, variances, counts = _Sum.apply(places * own).unbind(1)  # (W, C) each
    count = counts.sum(0)
    share = counts / count
    joint = (share * means).sum(0)
    return joint, (share * (variances + (means - joint).square())).sum(0), count


def check_parts(task: Task) -> None:
    """Refuses to cut the batch of a task that normalises over it while it trains.

    Raises:
        UserError: Names the part.
    """
    updated = {name for stage in task.stages() for objective in stage.objectives for name in objective.updates}
    for part, module in task.named_children():
        if part in updated and any(isinstance(m, _BatchNorm) and m.training for m in module.train().modules()):
            raise UserError(
                f"The part {part!r} has batch normalisation, which looks across the batch.",
                "Cut by training.accumulate, the gradient would not be that of the whole batch.",
                "Set training.accumulate=1, or take a norm that looks at each sample by itself.",
            )


def join_norms(model: nn.Module) -> None:
    """Turns every BatchNorm of a model into one over the global batch, in place."""
    if workers.size() > 1:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = GlobalBatchNorm
