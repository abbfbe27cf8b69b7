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
        dims = [d for d in range(x.ndim) if d != 1]
        wide = x.float()
        sums = torch.stack(
            [wide.sum(dims), wide.square().sum(dims), wide.new_full((x.shape[1],), x.numel() / x.shape[1])]
        )
        total, squares, counts = _Sum.apply(sums)
        mean = total / counts
        variance = (squares / counts - mean.square()).clamp_min(0)
        if self.track_running_stats and self.running_mean is not None and self.running_var is not None:
            self._remember(mean.detach(), variance.detach(), float(counts[0].detach()))
        shape = [1, -1, *[1] * (x.ndim - 2)]
        normal = (wide - mean.view(shape)) * torch.rsqrt(variance + self.eps).view(shape)
        if self.affine:
            normal = normal * self.weight.view(shape) + self.bias.view(shape)
        result: Tensor = normal.to(x.dtype)
        return result

    def _remember(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share = self.momentum if self.momentum is not None else 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean, share)
        self.running_var.lerp_(variance * count / max(count - 1, 1), share)

    def _check_input_dim(self, input: Tensor) -> None:
        """Any number of dimensions will do."""


def join_norms(model: nn.Module) -> None:
    """Turns every BatchNorm of a model into one over the global batch, in place."""
    if workers.size() > 1:
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.__class__ = GlobalBatchNorm
