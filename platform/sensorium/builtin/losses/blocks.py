"""What losses over all pairs of a batch share: they work tile by tile and keep no square.

A chunked loss saves nothing under autograd, which keeps every chunk for the backward pass. Here the
gradient is summed up tile by tile in the forward pass, and the backward pass only scales it.

With several workers each sees all N pairs, and takes the mean over its own B of them. The engine
weighs the worker's mean by B / N and sums gradients over workers. So a worker returns, for its own
rows, the gradient of the whole loss times N / B, through the terms of other workers as well.

Shapes: B pairs of this worker, N pairs of all workers, D channels, R x C rows and columns of a tile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from sensorium import Loss, workers

BLOCK = 1024
"""Rows and columns of a tile at most: 4 MiB in float32, which stays in the processor's cache."""
BLOCK_ON_GPU = 8192
"""The same on a GPU: 256 MiB in float32, as starting its kernels for small tiles would take longer than they do."""

Tile = tuple[slice, slice, Tensor]
"""Own rows, columns among all, and the numbers of their pairs (R, C)."""


class PairLoss(Loss):
    """A loss over all pairs of the global batch that computes its gradient itself."""

    form: ClassVar[str] = "pairs"

    def forward(self, a: Tensor, b: Tensor, groups: Tensor) -> Tensor:
        """Returns the mean over the B samples of this worker, computed in float32 or wider.

        Args:
            a: (B, D), unit-length rows of one field.
            b: (B, D), unit-length rows of the other; row i belongs to row i of `a`.
            groups: (B,) int64; samples of one number are positives of one another.
        """
        inputs = (a, b, *self.parameters())
        wanted = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in inputs)
        with torch.no_grad(), torch.autocast(a.device.type, enabled=False):
            loss, gradients = self.evaluate(Pairs(a, b, groups), wanted)
        return _Known.apply(loss, *inputs, *gradients) if wanted else loss

    def evaluate(self, pairs: Pairs, wanted: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the loss and, where wanted, the gradients of a, b and each parameter."""
        raise NotImplementedError


class _Known(torch.autograd.Function):
    """Takes a loss, its inputs and as many gradients; hands the gradients on, scaled."""

    @staticmethod
    def forward(ctx: Any, loss: Tensor, *tensors: Tensor) -> Tensor:
        half = len(tensors) // 2
        ctx.dtypes = [tensor.dtype for tensor in tensors[:half]]
        ctx.save_for_backward(*tensors[half:])
        return loss.clone()

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        gradients = ctx.saved_tensors
        # Scaled before it is narrowed: in float16 a share of a large batch would vanish.
        scaled = [
            (gradient * upstream).to(dtype) if needed else None
            for gradient, dtype, needed in zip(gradients, ctx.dtypes, ctx.needs_input_grad[1:], strict=False)
        ]
        return None, *scaled, *(None for _ in gradients)


class Pairs:
    """The rows of this worker, and those of all workers that they are compared with.

    Attributes:
        own: a and b of this worker, (B, D) each, in float32 or wider.
        every: a and b of all workers, (N, D) each; gathered without gradient.
        alone: True when this worker is the only one, so that `own` and `every` are the same.
        sides: What to sweep over to meet each pair of an own row: own a with every b is side 0,
            own b with every a is side 1, which is the transpose of side 0 for a worker alone.
        start: Place of the first own pair among all.
        counts: Pairs of each worker.
        groups: (N,), the group of each pair.
    """

    def __init__(self, a: Tensor, b: Tensor, groups: Tensor) -> None:
        wide = torch.promote_types(a.dtype, torch.float32)
        self.alone = workers.size() == 1
        self.sides = (0,) if self.alone else (0, 1)
        self.own = [rows.detach().to(wide) for rows in (a, b)]
        self.counts = workers.sizes(len(a), a.device)
        self.start = sum(self.counts[: workers.rank()])
        self.every = self.own if self.alone else [self.gather(rows).to(wide) for rows in (a, b)]
        self.groups = self.gather(groups.to(a.device))

    def __len__(self) -> int:
        return len(self.own[0])

    def gather(self, rows: Tensor) -> Tensor:
        """Returns a row for each pair of all workers, (N, ...), of those of this worker (B, ...)."""
        every: Tensor = workers.joined(rows, self.counts)
        return every

    def tiles(self, side: int) -> Iterator[Tile]:
        """Yields the similarity of each pair of a side. The next tile overwrites it."""
        x, y = self.own[side], self.every[1 - side]
        block = BLOCK if x.device.type == "cpu" else BLOCK_ON_GPU
        buffer = x.new_empty(min(block, len(x)) * min(block, len(y)))
        for rows in _slices(len(x), block):
            for columns in _slices(len(y), block):
                shape = (rows.stop - rows.start, columns.stop - columns.start)
                tile = buffer[: shape[0] * shape[1]].view(shape)
                yield rows, columns, torch.mm(x[rows], y[columns].T, out=tile)

    def positives(self, rows: slice, columns: slice) -> Tensor:
        """Returns which pairs of a tile are of one group, (R, C) bool."""
        own = slice(rows.start + self.start, rows.stop + self.start)
        same: Tensor = self.groups[own, None] == self.groups[columns]
        return same

    def of_groups(self) -> tuple[Tensor, Tensor]:
        """Returns the number of each pair's group, (N,), from 0, and how many pairs each number has, (N,).

        There are as many numbers as pairs, of which some may have none: how many groups there are the host need not
        know.
        """
        ordered, order = self.groups.sort(stable=True)
        first = torch.ones_like(ordered)
        first[1:] = ordered[1:] != ordered[:-1]
        group = torch.empty_like(order).scatter_(0, order, first.cumsum(0) - 1)
        return group, torch.zeros_like(group).scatter_add_(0, group, torch.ones_like(group))

    def gradients(self, slopes: Callable[[int], Iterator[Tile]]) -> list[Tensor]:
        """Returns the gradients of a and b, (B, D) each.

        Args:
            slopes: Side -> its tiles of the derivative of the whole loss by each similarity.
        """
        gradients = [torch.zeros_like(rows) for rows in self.own]
        for side in self.sides:
            for rows, columns, tile in slopes(side):
                gradients[side][rows].addmm_(tile, self.every[1 - side][columns])
                if self.alone:
                    gradients[1][columns].addmm_(tile.T, self.own[0][rows])
        return gradients


def _slices(length: int, block: int) -> Iterator[slice]:
    for start in range(0, length, block):
        yield slice(start, min(start + block, length))
