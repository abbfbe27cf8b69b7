"""A device that is not there: what is computed on it may neither be read by the host nor meet what lies on the host.

On a GPU the host hands on the work of a step and goes on; where it reads a number of it, it waits for all of it. Here
all tensors lie on the host in truth. Those that are said to lie elsewhere are known by their memory, and by a device
that differs from the host's in its name alone.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

HOST, DEVICE = torch.device("cpu"), torch.device("cpu:0")
"""Equals no `torch.device("cpu")`, and is computed on by the same operators."""
READS = {"_local_scalar_dense", "equal", "is_nonzero"}
"""Operators that give the host a number."""
SIZES = {"nonzero", "masked_select", "_unique2", "unique_dim", "unique_consecutive", "bincount", "repeat_interleave"}
"""Operators whose result has a size that the host has to wait for."""
BY_INDEX = {"index", "index_put", "index_put_", "_index_put_impl_"}
COPIES = {"copy_", "_to_copy"}
PACKS = {"_pack_padded_sequence", "_pad_packed_sequence"}
OWN = ("/platform/sensorium/", "/plugins/sensorium_")
"""What the paths of Sensorium's own modules hold."""
METHODS = ("cpu", "numpy", "tolist")
"""Methods that read, and which operators on the host pass by."""


class Elsewhere(TorchDispatchMode):
    """Watches all that is computed.

    Attributes:
        faults: What would wait for the device, or fail on it, with the line of Sensorium's that does it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.places: set[int] = set()
        self.kept: list[Tensor] = []
        self.faults: list[str] = []

    def put(self, tensor: Tensor) -> Tensor:
        """Says of a tensor that it lies on the device."""
        self.places.add(tensor.untyped_storage().data_ptr())
        self.kept.append(tensor)  # else its memory may become another one's
        return tensor

    def lies(self, tensor: Tensor) -> bool:
        """Returns whether a tensor lies on the device; an empty one lies anywhere."""
        return tensor.numel() > 0 and tensor.untyped_storage().data_ptr() in self.places

    def fault(self, what: str) -> None:
        """Notes what goes wrong, and where."""
        self.faults.append(f"{what}, {self._place() or 'in the backward pass'}")

    @staticmethod
    def _place() -> str:
        """Returns file and line of what is computed; empty in the backward pass, which has none."""
        stack = [each for each in traceback.extract_stack() if any(part in each.filename for part in OWN)]
        return f"{stack[-1].filename.rpartition('/')[2]}:{stack[-1].lineno}: {stack[-1].line}" if stack else ""

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        name, device = function.overloadpacket.__name__, (kwargs or {}).get("device")
        there = any(map(self.lies, given))
        if there:
            self._check(name, args, given)
        result = function(*args, **(kwargs or {}))
        if name in PACKS:  # the numbers of sequences that go on stay on the host
            self.put(result[0])
        elif device == DEVICE or (there and device is None):
            for leaf in tree_leaves(result):
                if isinstance(leaf, Tensor):
                    self.put(leaf)
        return result

    def _check(self, name: str, args: Any, given: list[Tensor]) -> None:
        if name in READS | SIZES:
            self.fault(f"{name} waits for the device")
        chosen = [leaf for leaf in tree_leaves(args[1:2]) if isinstance(leaf, Tensor)] if name in BY_INDEX else []
        if any(index.dtype == torch.bool for index in chosen):
            self.fault("a choice by a mask waits for the device")
        if name in BY_INDEX | COPIES | PACKS or not self._place():  # backward's own zeros are of its device's kind
            return
        if any(each.ndim and each.numel() and not self.lies(each) for each in given):
            self.fault(f"{name} of tensors of two devices")


@contextmanager
def elsewhere() -> Iterator[Elsewhere]:
    """Watches what is computed meanwhile, on tensors that are put elsewhere."""
    mode = Elsewhere()

    def reads(name: str, own: Callable[..., Any]) -> Any:
        def method(tensor: Tensor, *args: Any, **options: Any) -> Any:
            if mode.lies(tensor):
                mode.fault(f".{name}() waits for the device")
            return own(tensor, *args, **options)

        return method

    def moves(own: Callable[..., Tensor]) -> Any:
        def to(tensor: Tensor, *args: Any, **options: Any) -> Tensor:
            targets = [*args, *options.values()]
            named = [each for each in targets if isinstance(each, str | torch.device)]
            if mode.lies(tensor) and ("cpu" in named or HOST in named):
                mode.fault(".to('cpu') waits for the device")
            result = own(tensor, *args, **options)
            likes = [each for each in targets if isinstance(each, Tensor)]
            return mode.put(result.clone()) if any(map(mode.lies, likes)) and not mode.lies(result) else result

        return to

    def makes(own: Callable[..., Tensor]) -> Any:
        def made(*args: Any, **options: Any) -> Tensor:
            there = options.get("device") == DEVICE or (own is new_tensor and mode.lies(args[0]))
            result = own(*args, **options)
            return mode.put(result) if there else result

        return made

    new_tensor, host = Tensor.new_tensor, Tensor.device
    with pytest.MonkeyPatch.context() as patch:
        for name in METHODS:
            patch.setattr(Tensor, name, reads(name, getattr(Tensor, name)))
        patch.setattr(Tensor, "to", moves(Tensor.to))
        patch.setattr(Tensor, "new_tensor", makes(new_tensor))
        patch.setattr(torch, "tensor", makes(torch.tensor))
        patch.setattr(
            Tensor,
            "device",
            property(lambda tensor: DEVICE if mode.lies(tensor) else host.__get__(tensor)),
            raising=False,
        )
        with mode:
            yield mode
