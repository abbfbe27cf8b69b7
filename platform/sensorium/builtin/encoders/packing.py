"""Recurrent networks over sequences of unequal length: each is read to its own end, and the host waits for nothing.

Shapes: B sequences, T steps, D channels of a step, N of a state, S states (layers times directions).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def read(cell: nn.RNNBase, steps: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Returns what a recurrent network says at each step, (B, T, N), and its states at the end, (S, B, N) each.

    Args:
        cell: A GRU, which has one kind of state, or an LSTM, which has two.
        steps: (B, T, D).
        lengths: (B,), on the host; at least 1.
    """
    # Sorted here: torch would ask the device for the order that it has put there itself.
    ordered, order = lengths.sort(descending=True)
    there, back = (each.to(steps.device, non_blocking=True) for each in (order, order.argsort()))
    said, states = cell(pack_padded_sequence(steps.index_select(0, there), ordered, batch_first=True))
    padded, _ = pad_packed_sequence(said, batch_first=True, total_length=steps.shape[1])
    ends = states if isinstance(states, tuple) else (states,)
    return padded.index_select(0, back), tuple(each.index_select(1, back) for each in ends)


def last(cell: nn.RNNBase, steps: Tensor, lengths: Tensor) -> Tensor:
    """Returns the state of a network of one layer at each sequence's end, of both directions joined, (B, N)."""
    _, states = read(cell, steps, lengths)
    return torch.cat(states[0].unbind(0), 1)
