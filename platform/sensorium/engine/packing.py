"""Rows of an evaluation on their way to the first worker: bytes and their lengths, nothing pickled.

A structure of tensors, strings and numbers becomes JSON that says how it is built, and one tensor of the bytes of all
tensors in it. What a worker has is sent in pieces of bounded size, so that the first one holds little but the result.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from sensorium.contracts import workers
from sensorium.errors import SensoriumError

PIECE = 16 * 2**20
"""Bytes that are sent at a time, at most."""


def pack(tree: Any) -> tuple[bytes, Tensor]:
    """Returns JSON that says how a structure is built, and the bytes of its tensors, (bytes,) uint8 on the host.

    Args:
        tree: Tensors, NumPy arrays, bytes, strings, numbers, None, and lists, tuples and dicts of these.

    Raises:
        SensoriumError: Something else is in it; names it.
    """
    found: list[Tensor] = []
    built = _taken_apart(tree, found)
    flat = [each.reshape(-1).view(torch.uint8) for each in found]
    return json.dumps(built).encode(), torch.cat(flat) if flat else torch.empty(0, dtype=torch.uint8)


def unpack(built: bytes, data: Tensor) -> Any:
    """Returns the structure that `pack` took apart."""
    tree, _ = _put_together(json.loads(built), data, 0)
    return tree


def to_first(parts: Sequence[Any]) -> list[Any]:
    """Returns the parts of all workers, in the order of their ranks, on the first one; nothing on the others.

    Args:
        parts: Structures that `pack` takes, each sent by itself: the rows of a batch.

    Raises:
        SensoriumError: One of them holds what cannot be sent.
    """
    if workers.rank() > 0:
        for part in parts:
            _send(*pack(part))
        _send(b"", torch.empty(0, dtype=torch.uint8))
        return []
    return [*parts, *(part for rank in range(1, workers.size()) for part in _received(rank))]


def _taken_apart(value: Any, found: list[Tensor]) -> Any:
    """Returns a value as JSON holds it, with its tensors handed over to `found` in order."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, list):
        return [_taken_apart(each, found) for each in value]
    if type(value) is tuple:
        return {"tuple": [_taken_apart(each, found) for each in value]}
    if isinstance(value, dict):
        return {"dict": [[_taken_apart(each, found) for each in pair] for pair in value.items()]}
    kind, tensor = _as_tensor(value)
    found.append(tensor.detach().cpu().resolve_conj().contiguous())
    return {kind: [str(tensor.dtype).removeprefix("torch."), list(tensor.shape)]}


def _as_tensor(value: Any) -> tuple[str, Tensor]:
    """Returns what a value is called, and its content as a tensor."""
    if isinstance(value, Tensor):
        return "tensor", value
    if isinstance(value, bytes):
        return "bytes", torch.from_numpy(np.frombuffer(value, np.uint8).copy())
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.dtype.char not in "gG":
        # A copy: turned round, of another byte order, or read-only it is no tensor.
        return "array", torch.from_numpy(np.array(value, value.dtype.newbyteorder("="), order="C"))
    raise SensoriumError(
        f"A row of an evaluation holds a {type(value).__name__}.",
        "Rows are tensors, or lists of tensors, arrays of numbers, bytes, strings and numbers, and of lists, tuples and"
        " dicts of these.",
        "Mend the task's `rows`.",
    )


def _put_together(built: Any, data: Tensor, start: int) -> tuple[Any, int]:
    """Returns a value, and where in `data` the tensors begin that come after it."""
    if isinstance(built, list):
        values = []
        for each in built:
            value, start = _put_together(each, data, start)
            values.append(value)
        return values, start
    if not isinstance(built, dict):
        return built, start
    ((kind, content),) = built.items()
    if kind in ("tuple", "dict"):
        values, start = _put_together(content, data, start)
        return tuple(values) if kind == "tuple" else dict(values), start
    dtype, shape = getattr(torch, content[0]), content[1]
    end = start + math.prod(shape) * dtype.itemsize
    tensor = data[start:end].clone().view(dtype).reshape(shape)
    if kind == "tensor":
        return tensor, end
    array = tensor.numpy()
    return array if kind == "array" else array.tobytes(), end


def _send(built: bytes, data: Tensor) -> None:
    group = workers.patient()
    dist.send(torch.tensor([len(built), len(data)]), 0, group)
    for part in (torch.from_numpy(np.frombuffer(built, np.uint8).copy()), data):
        for piece in _pieces(part):
            dist.send(piece, 0, group)


def _received(rank: int) -> Iterator[Any]:
    group, sizes = workers.patient(), torch.zeros(2, dtype=torch.int64)
    while dist.recv(sizes, rank, group) is not None and sizes[0] > 0:
        built, data = (torch.empty(size, dtype=torch.uint8) for size in sizes.tolist())
        for part in (built, data):
            for piece in _pieces(part):
                dist.recv(piece, rank, group)
        yield unpack(built.numpy().tobytes(), data)


def _pieces(data: Tensor) -> Sequence[Tensor]:
    return data.split(PIECE) if len(data) else ()
