"""Rows travel as bytes and lengths, and come as they were."""

from collections import namedtuple

import numpy as np
import pytest
import torch

from gloo import together
from sensorium import SensoriumError
from sensorium.contracts import workers
from sensorium.engine import packing

ROWS = {
    "logits": torch.tensor([[0.1, float("nan")], [float("-inf"), 1e-45]]),
    "half": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
    "phase": torch.tensor([1 + 2j, 3 - 4j]).conj(),
    "right": torch.tensor([True, False]),
    "turned": torch.arange(6, dtype=torch.int64).reshape(2, 3).T[:2],
    "none": torch.empty(2, 0),
    "id": ["é\u0000한국어", "\ud800 alone"],
    "boxes": [torch.ones(3, 4), torch.empty(0, 4)],
    "answers": [["yes", "no"], []],
    "spans": [(1, 2.5), ()],
    "raw": [{"a": None, 1: [True, float("inf")]}, {}],
    "sound": [np.arange(3, dtype=np.int16), np.array(2.5)],
    "bytes": [b"\x00\xff", b""],
}


def raw(tensor):
    return tensor.resolve_conj().reshape(-1).view(torch.uint8)


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype
        assert torch.equal(raw(one), raw(other))
        assert one.shape == other.shape
    elif isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            same(one[name], other[name])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            same(*pair)
    else:
        assert one == other


def test_what_is_packed_comes_back_to_the_bit():
    same(ROWS, packing.unpack(*packing.pack(ROWS)))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "array", [np.arange(6)[::-1], np.arange(6, dtype=">i4"), np.frombuffer(b"abcd", np.uint8), np.ones((2, 3)).T]
)
def test_arrays_come_back_however_they_lie_in_memory(array):
    np.testing.assert_array_equal(packing.unpack(*packing.pack([array]))[0], array)


@pytest.mark.parametrize("value", [{1, 2}, namedtuple("Pair", "a b")(1, 2), object(), np.array(["text"])])
def test_what_is_neither_tensor_nor_json_is_named(value):
    with pytest.raises(SensoriumError, match=f"holds a {type(value).__name__}.*Mend the task's `rows`"):
        packing.pack({"x": [value]})


def sent():
    """Parts of several workers, the last of which has none, in pieces of a few bytes."""
    packing.PIECE, sizes = 5, []
    real = torch.distributed.send
    torch.distributed.send = lambda tensor, *more: (sizes.append(tensor.nbytes), real(tensor, *more))
    rank = workers.rank()
    parts = [] if rank == 2 else [{"rank": [rank, turn], **ROWS} for turn in range(2)]
    return packing.to_first(parts), sizes


def test_the_first_worker_gets_the_parts_of_all_in_order_and_nobody_else_any():
    (parts, none), (others, sizes), (no, ended) = together(3, sent)
    assert [part.pop("rank") for part in parts] == [[0, 0], [0, 1], [1, 0], [1, 1]]
    for part in parts:
        same(ROWS, part)
    assert (none, others, no) == ([], [], [])
    assert ended == [16]
    assert len(sizes) > 100
    assert max(sizes) == 16  # how much is coming; the rest in pieces
