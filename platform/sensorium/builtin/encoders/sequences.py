"""Recurrent networks over sequences of unequal length: each is read to its own end, and the host waits for nothing.

Shapes: B sequences, T steps, D channels of a step, N of a state, S states (layers times directions).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def read(cell: nn.RNNBase, steps: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Returns what a recurrent network says at each step, (B, T, N), and its states at the end, (S, B, N) each.

    Args:
        cell: A GRU, which has one kind of state, or an LSTM, which has two.
        steps: (B, T, D).
        lengths: (B,), on the host; at least 1.
    """
    if torch.compiler.is_exporting():
        return _scanned(cell, steps, lengths)
    # Sorted here: torch would ask the device for the order that it has put there itself.
    ordered, order = lengths.sort(descending=True)
    there, back = (each.to(steps.device, non_blocking=True) for each in (order, order.argsort()))
    said, states = cell(pack_padded_sequence(steps.index_select(0, there), ordered, batch_first=True))
    padded, _ = pad_packed_sequence(said, batch_first=True, total_length=steps.shape[1])
    ends = states if isinstance(states, tuple) else (states,)
    return padded.index_select(0, back), tuple(each.index_select(1, back) for each in ends)


def whole(cell: nn.RNNBase, steps: Tensor) -> Tensor:
    """Returns what a recurrent network says at each step, (B, T, N), of sequences (B, T, D) of one length."""
    if torch.compiler.is_exporting():  # which would write down each step by itself
        return _scanned(cell, steps, torch.full((steps.shape[0],), steps.shape[1]))[0]
    said: Tensor = cell(steps)[0]
    return said


def _scanned(cell: nn.RNNBase, steps: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Returns what `read` does, by a loop that can be exported, as packed sequences cannot."""
    kind, count = (torch.lstm_cell, 2) if isinstance(cell, nn.LSTM) else (torch.gru_cell, 1)
    real = (torch.arange(steps.shape[1]) < lengths[:, None]).T[..., None]  # (T, B, 1)
    said, ends = steps.transpose(0, 1), []
    for layer in range(cell.num_layers):
        ways = []
        for way in ("", "_reverse")[: 1 + cell.bidirectional]:
            weights = [
                getattr(cell, f"{name}_l{layer}{way}") for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
            ]

            def step(states: Any, now: Any, weights: list[Tensor] = weights) -> tuple[Any, Tensor]:
                given, there = now
                made = kind(given, states if count == 2 else states[0], *weights)
                after = zip(made if count == 2 else (made,), states, strict=True)
                kept = tuple(torch.where(there, new, old) for new, old in after)
                return kept, kept[0].clone()

            torch.compiler.reset()  # else a loop seen before would be bound to sizes unlike those of this one
            start = tuple(steps.new_zeros(steps.shape[0], cell.hidden_size) for _ in range(count))
            end, told = scan(step, start, (said, real), reverse=bool(way))
            ways.append(told * real)
            ends.append(end)
        said = torch.cat(ways, 2)
    return said.transpose(0, 1), tuple(torch.stack(each) for each in zip(*ends, strict=True))


def last(cell: nn.RNNBase, steps: Tensor, lengths: Tensor) -> Tensor:
    """Returns the state of a network of one layer at each sequence's end, of both directions joined, (B, N)."""
    _, states = read(cell, steps, lengths)
    return torch.cat(states[0].unbind(0), 1)
