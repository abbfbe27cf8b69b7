"""Sequences of unequal length are read each to its own end."""

import pytest
import torch
from torch import nn

from elsewhere import DEVICE, elsewhere
from sensorium.builtin.encoders.sequences import last, read

LENGTHS = torch.tensor([3, 1, 5, 3])


@pytest.mark.parametrize("kind", [nn.GRU, nn.LSTM])
@pytest.mark.parametrize("both", [False, True])
def test_a_batch_says_what_each_says_alone(kind, both):
    torch.manual_seed(0)
    cell, steps = kind(4, 6, 2, batch_first=True, bidirectional=both), torch.randn(4, 5, 4)
    said, ends = read(cell, steps, LENGTHS)
    assert said.shape == (4, 5, 12 if both else 6)
    for row, length in enumerate(LENGTHS.tolist()):
        alone, states = cell(steps[row : row + 1, :length])
        assert torch.allclose(said[row, :length], alone[0], atol=1e-6)
        assert not said[row, length:].any()
        for end, state in zip(ends, states if isinstance(states, tuple) else (states,), strict=True):
            assert torch.allclose(end[:, row], state[:, 0], atol=1e-6)


def test_the_last_state_is_of_both_directions():
    cell, steps = nn.LSTM(4, 6, batch_first=True, bidirectional=True), torch.randn(4, 5, 4)
    said, _ = read(cell, steps, LENGTHS)
    found = last(cell, steps, LENGTHS)
    assert torch.allclose(found[:, :6], said[torch.arange(4), LENGTHS - 1, :6], atol=1e-6)
    assert torch.allclose(found[:, 6:], said[:, 0, 6:], atol=1e-6)


def test_the_host_waits_for_nothing():
    cell = nn.LSTM(4, 6, batch_first=True)
    with elsewhere() as watch:
        for parameter in cell.parameters():
            watch.put(parameter)
        last(cell, torch.randn(4, 5, 4).to(DEVICE), LENGTHS).sum().backward()
    assert watch.faults == []
    assert cell.weight_hh_l0.grad.any()
