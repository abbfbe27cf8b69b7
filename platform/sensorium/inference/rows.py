"""Mathematics that gives a row the same digits whatever rows are beside it.

A processor multiplies one row by a matrix in another order of additions than four, and convolves one
small picture by another routine than two. So a batch of one is made larger where that changes digits,
and its surplus is thrown away. What is answered in a batch is then what is answered alone.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

ROWS = 4
"""Small matrix products, and those with a vector, are made with multiples of so many rows."""

MANY = 64
"""Rows from which on a processor adds up each in one order, whatever their number."""

SMALL = 20480
"""Numbers in a batch of one up to which PyTorch convolves it by a routine of its own."""

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)
PRODUCTS = (F.linear, torch.matmul, torch.mm, Tensor.matmul, Tensor.mm, Tensor.__matmul__)


class Alone(TorchFunctionMode):
    """Inside it, a sample's answer does not depend on the size of its batch, as far as a processor allows."""

    def __torch_function__(
        self,
        function: Any,
        types: Sequence[type],
        arguments: Sequence[Any] = (),
        options: Mapping[str, Any] | None = None,
    ) -> Any:
        """Calls a function of PyTorch, with more rows where it needs them."""
        first = arguments[0] if arguments and isinstance(arguments[0], Tensor) else None
        if first is None or first.is_cuda:
            return function(*arguments, **(options or {}))
        if function in PRODUCTS and first.ndim >= 2 and (function is F.linear or _is_matrix(arguments[1])):
            rows = math.prod(first.shape[:-1])
            if rows % ROWS and (rows < MANY or _is_vector(arguments[1], function)):
                flat = F.pad(first.reshape(rows, first.shape[-1]), (0, 0, 0, -rows % ROWS))
                result = function(flat, *arguments[1:], **(options or {}))
                return result[:rows].reshape(*first.shape[:-1], result.shape[-1])
        if function in CONVOLUTIONS and first.shape[0] == 1 and first.numel() <= SMALL:
            pair = torch.cat((first, first))  # keeps the order of its numbers in memory, unlike `expand`
            return function(pair, *arguments[1:], **(options or {}))[:1]
        return function(*arguments, **(options or {}))


def _is_matrix(value: Any) -> bool:
    return isinstance(value, Tensor) and value.ndim == 2


def _is_vector(weight: Tensor, function: Any) -> bool:
    """Tells whether a product has a single column."""
    return weight.shape[0 if function is F.linear else -1] == 1
