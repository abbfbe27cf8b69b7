"""Optimising at prediction: a value is moved until a loss is small, and the networks stay as they are."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def minimise(start: Tensor, loss: Callable[[Tensor], Tensor], steps: int, lr: float) -> Tensor:
    """Returns where Adam arrives from a start, for each sample by itself.

    Networks that the loss asks keep their weights, and no gradient is left in them.

    Args:
        start: (B, ...), one value for each sample.
        loss: Value (B, ...) -> loss of each sample (B,).
        steps: Number of steps; 0 returns the start.
        lr: Learning rate of the first step; it falls to 0 along half a cosine.
    """
    value = start.detach().clone().requires_grad_()
    optimizer = torch.optim.Adam([value], lr=lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, steps))
    for _ in range(steps):
        with torch.enable_grad():
            (value.grad,) = torch.autograd.grad(loss(value).sum(), value)
        optimizer.step()
        schedule.step()
    return value.detach()
