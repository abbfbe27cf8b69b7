"""A recurrent network over tokens or over the frames of a spectrogram.

Shapes: B samples, C channels, F bins, T tokens or frames, N hidden channels of what is pooled, D channels.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from sensorium import Encoder, Features, Modality, Padded
from sensorium.builtin.encoders.inputs import embedding, fixed
from sensorium.builtin.encoders.sequences import read


class RNN(Encoder):
    """A GRU or LSTM; its state after the last real step stands for the whole sequence."""

    exportable = False  # packed sequences are not
    takes = ("tokens", "spectrogram")

    class Config(Encoder.Config):
        """Cell and sizes."""

        cell: Literal["gru", "lstm"] = "gru"
        """GRU (Cho et al., 2014) or LSTM (Hochreiter and Schmidhuber, 1997)."""

        bidirectional: bool = True
        """Also reads from the end to the beginning, and joins both states."""

        hidden: int = 128
        """Channels of the state of each direction, and of the vector of a token."""

        layers: int = 1
        """Layers on top of one another."""

        pool: Literal["top", "all"] = "top"
        """What is pooled: the hidden state of the top layer, or, of an LSTM, hidden and cell states of all layers, as
        Antol et al., ICCV 2015 do; then there are no tokens."""

        dim: int = 128
        """D, channels of the result."""

        token_std: float = 0.02
        """Standard deviation of the vectors of tokens at the start; with 1 a small network learns sooner."""

        def __post_init__(self) -> None:
            if min(self.hidden, self.layers, self.dim) < 1 or self.token_std <= 0:
                raise ValueError("hidden, layers and dim are at least 1; token_std is above 0.")
            if self.pool == "all" and self.cell != "lstm":
                raise ValueError("pool: all reads the cell states of an LSTM; take cell: lstm.")

    def __init__(self, config: RNN.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim, self.pool = config.dim, config.pool
        self.embed: nn.Module = nn.Identity()
        if modality.form == "tokens":
            table, width = embedding(modality, config.hidden), config.hidden
            nn.init.normal_(table.weight, std=config.token_std)
            self.embed = table
        else:
            width = fixed(modality, 0) * fixed(modality, 1)
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[config.cell]
        self.cell = cell(width, config.hidden, config.layers, batch_first=True, bidirectional=config.bidirectional)
        states = 2 * config.layers if config.pool == "all" else 1
        self.project = nn.Linear(states * config.hidden * (1 + config.bidirectional), config.dim)

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and, of the top layer, tokens (B, T, D)."""
        steps: Tensor = self.embed(batch.data)
        if steps.ndim == 4:
            steps = steps.flatten(1, 2).transpose(1, 2)  # (B, C, F, T) -> (B, T, C * F)
        padded, state = read(self.cell, steps, batch.lengths)
        if self.pool == "all":
            states = torch.cat(state)  # (2 * layers * directions, B, N / states)
            return Features(self.project(torch.cat(states.unbind(0), 1)))
        directions = 1 + self.cell.bidirectional
        joined = torch.cat(state[0][-directions:].unbind(0), 1)  # (B, N), of the top layer
        return Features(self.project(joined), self.project(padded), batch.mask)
