"""What makes steps on a GPU faster, and leaves alone those on the processor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from sensorium.contracts.data import Batch, map_tensors
from sensorium.errors import unknown


class Transfer:
    """Brings batches to the device, on a stream of its own where that is a GPU: while the step before is computed.

    The host hands on the work of a step and goes on, so that it asks for the next batch while the device has that work
    before it.

    Args:
        device: Where to.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    def __call__(self, batch: Batch) -> Batch:
        """Returns the batch on the device; what is computed from now on waits for it there."""
        if self.stream is None:
            return batch.to(self.device)
        with torch.cuda.stream(self.stream):
            moved = batch.to(self.device)
        computing = torch.cuda.current_stream(self.device)
        computing.wait_stream(self.stream)
        # Else the memory would be another batch's as soon as Python lets go of it, though it is being read.
        map_tensors(moved.fields, lambda tensor: _used(tensor, computing), on_host=False)
        return moved


def _used(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    tensor.record_stream(stream)
    return tensor


def prepare(model: nn.Module, device: torch.device, precision: str, sharded: bool) -> None:
    """Sets what a GPU multiplies matrices of float32 in, and how the weights of convolutions lie.

    Args:
        model: On its device.
        device: A GPU, or nothing is done.
        precision: Of the training; with fp32 all stays as it is.
        sharded: Whether the model is cut among workers, which want weights row by row.
    """
    if device.type != "cuda":
        return
    torch.backends.cuda.matmul.fp32_precision = "ieee" if precision == "fp32" else "tf32"
    if precision != "fp32" and not sharded:
        channels_last(model)


def channels_last(model: nn.Module) -> None:
    """Lays the weights of convolutions over pictures out as tensor cores read them, C last; pictures follow them."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last)


def check_backend(name: str) -> None:
    """Refuses a backend that torch.compile does not have.

    Raises:
        UserError: Says the nearest.
    """
    known = torch.compiler.list_backends(exclude_tags=())
    if name not in known:
        raise unknown("backend of torch.compile", name, known, "training.compile")


def compiled(function: Callable[..., Any], backend: str | None) -> Callable[..., Any]:
    """Returns a function as torch.compile makes it; itself without a backend."""
    if backend is None:
        return function
    made: Callable[..., Any] = torch.compile(function, backend=backend)
    return made
