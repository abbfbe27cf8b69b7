"""The voice encoder: convolutions on the complex spectrogram that forget when something was said, not how high.

T.-H. Oh, T. Dekel, C. Kim, I. Mosseri, W. T. Freeman, M. Rubinstein, W. Matusik, Speech2Face: Learning the Face
Behind a Voice, CVPR 2019, section 3 and table 1.

Shapes: B clips, S samples, C channels, F bins, T frames, D channels of the result.
"""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Encoder, Features, Modality, Padded, UserError
from sensorium.ops.spectra import Spectra, frames

EPSILON = 1e-5
"""Added to variances."""


class VoiceEncoder(Encoder):
    """Pools along time alone, so that the bins, in which voices differ, stay apart up to the end.

    Where the paper normalises over the batch, each layer is normalised over the clip. Each clip has unit energy before
    the first layer.
    """

    takes = ("waveform",)
    probe: ClassVar[dict[str, Any]] = {"n_fft": 64, "hop_length": 32, "widths": [[4], [4, 4]], "dim": 8}

    class Config(Encoder.Config):
        """The spectrogram and the layers; published sizes by default."""

        n_fft: int = 512
        """Samples of the Fourier transform, n_fft / 2 + 1 = F bins."""
        win_length: int | None = None
        """Samples of the Hann window; None takes n_fft."""
        hop_length: int = 160
        """Samples from one window to the next."""
        power: float = 0.3
        """Power that magnitudes are compressed by."""
        magnitude: bool = False
        """Whether the magnitude stands beside real and imaginary part: few samples do not teach to find it."""
        widths: list[list[int]] = field(default_factory=lambda: [[64, 64, 128], [128], [128], [256], [512, 512, 512]])
        """C of each layer. After each group of layers but the last, the louder of two frames is kept; each layer of
        the last group but its first halves bins and frames."""
        taps: int = 4
        """Bins and frames that a layer sees."""
        dim: int = 4096
        """D."""

        def __post_init__(self) -> None:
            if not 0 < self.power <= 1:
                raise ValueError("power lies above 0 and not above 1.")
            if not 0 < (self.win_length or self.n_fft) <= self.n_fft or self.hop_length < 1:
                raise ValueError("win_length lies above 0 and not above n_fft, hop_length is at least 1.")
            sizes = [width for group in self.widths for width in group]
            if not all(self.widths) or min([*sizes, self.taps, self.dim], default=0) < 1 or not sizes:
                raise ValueError("widths holds groups of one layer at least; widths, taps and dim are at least 1.")

    config: VoiceEncoder.Config

    def __init__(self, config: VoiceEncoder.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        if modality.shape[0] != 1:
            raise UserError(
                "The voice encoder hears one channel.",
                f"The waveform has the shape {tuple(modality.shape)}.",
                "Set `channels: 1` of the modality.",
            )
        self.spectra = Spectra(config.n_fft, config.hop_length, config.power, "hann", config.win_length)
        groups, last = config.widths, len(config.widths) - 1
        plan = [
            (width, 2 if at == last and nth else 1)
            for at, group in enumerate(groups)
            for nth, width in enumerate(group)
        ]
        widths = [3 if config.magnitude else 2, *(width for width, _ in plan)]
        strides = [stride for _, stride in plan]
        self.layers = nn.ModuleList(
            Layer(below, above, config.taps, stride)
            for (below, above), stride in zip(pairwise(widths), strides, strict=True)
        )
        ends = [sum(map(len, groups[: at + 1])) - 1 for at in range(last)]
        self.pooled = frozenset(ends)
        bins = self.spectra.bins
        for stride in strides:
            bins = -(-bins // stride)
        self.project = nn.Linear(bins * widths[-1], config.dim)
        self.dim = config.dim

    def forward(self, batch: Tensor | Padded) -> Features:
        """Returns pooled (B, D) of waveforms (B, 1, S)."""
        wave = batch.data[:, 0] if isinstance(batch, Padded) else batch[:, 0]
        lengths = torch.full((wave.shape[0],), wave.shape[1], device=wave.device)
        if isinstance(batch, Padded):
            lengths = batch.mask.sum(1)
        loud = (wave.square().sum(1) / lengths).sqrt().clamp(min=1e-4)
        # Silence after each clip, whether another one in the batch is longer or not.
        compressed = self.spectra.compressed(F.pad(wave / loud[:, None], (0, self.config.n_fft)))
        real = torch.arange(compressed.shape[2], device=wave.device) < frames(lengths, self.config.hop_length)[:, None]
        parts = [compressed.real, compressed.imag, *([compressed.abs()] if self.config.magnitude else [])]
        grid = torch.stack(parts, 1) * real[:, None, None]  # (B, C, F, T)
        for number, layer in enumerate(self.layers):
            grid, real = layer(grid, real)
            if number in self.pooled:
                grid, real = F.max_pool2d(grid, (1, 2), ceil_mode=True), real[:, ::2]
        mean = grid.sum(3) / real.sum(1)[:, None, None]
        return Features(F.relu(self.project(mean.flatten(1))))


class Layer(nn.Module):
    """A convolution, a norm over the clip, a rectifier; frames after the end of a clip are 0 and count nowhere."""

    def __init__(self, below: int, above: int, taps: int, stride: int) -> None:
        super().__init__()
        self.around = ((taps - 1) // 2, taps // 2) * 2
        self.stride = stride
        self.conv = nn.Conv2d(below, above, taps, stride, bias=False)
        self.scale, self.shift = nn.Parameter(torch.ones(above, 1, 1)), nn.Parameter(torch.zeros(above, 1, 1))

    def forward(self, grid: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Returns grid (B, C, F, T) and which of its frames are real (B, T)."""
        grid, real = self.conv(F.pad(grid, self.around)), real[:, :: self.stride]
        there = real[:, None, None].to(grid)
        count = (real.sum(1) * grid.shape[1] * grid.shape[2])[:, None, None, None]
        grid = grid * there
        mean, square = (each.sum((1, 2, 3), keepdim=True) / count for each in (grid, grid.square()))
        gain = self.scale * (square - mean.square() + EPSILON).rsqrt()
        return F.relu(grid * gain + (self.shift - mean * gain)) * there, real
