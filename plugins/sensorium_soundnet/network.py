"""The fully convolutional network on raw waveforms, in its two published forms.

After Y. Aytar, C. Vondrick, A. Torralba, SoundNet: Learning Sound Representations from Unlabeled
Video, NIPS 2016, and the authors' training code for kernels, strides and paddings.

Shapes: B clips, S samples of a waveform, T frames of a layer, D channels of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Encoder, Features, Modality, NamedModules, Padded, UserError


@dataclass(frozen=True)
class Layer:
    """A convolution with its norm and rectifier, and what is pooled after it.

    Attributes:
        channels: At width 1.
        kernel: Samples or frames that it sees.
        stride: Samples or frames from one place to the next.
        padding: Zeros on either side.
        pools: Whether the maximum over some frames follows.
    """

    channels: int
    kernel: int
    stride: int
    padding: int
    pools: bool = False


EIGHT = (
    Layer(16, 64, 2, 32, True),
    Layer(32, 32, 2, 16, True),
    Layer(64, 16, 2, 8),
    Layer(128, 8, 2, 4),
    Layer(256, 4, 2, 2, True),
    Layer(512, 4, 2, 2),
    Layer(1024, 4, 2, 2),
)
"""The first seven of eight layers; the heads are the last."""
FIVE = (
    Layer(32, 64, 2, 32, True),
    Layer(64, 32, 2, 16, True),
    Layer(128, 16, 2, 8, True),
    Layer(256, 8, 2, 4),
)
"""The first four of five layers."""


@dataclass(frozen=True)
class Form:
    """One of the published forms.

    Attributes:
        layers: All but the heads.
        pools: Frames of each maximum, in order.
        tap: Number of layers below what is handed on to other tasks: `pool5` of eight layers, `conv4` of five.
        head: Kernel, stride and padding of the heads.
    """

    layers: tuple[Layer, ...]
    pools: tuple[int, ...]
    tap: int
    head: tuple[int, int, int]


EPSILON = 1e-5
"""Added to variances."""
FORMS = {8: Form(EIGHT, (8, 8, 4), 5, (8, 2, 0)), 5: Form(FIVE, (8, 8, 8), 4, (16, 12, 4))}


class SoundNet(Encoder):
    """Convolutions on the waveform; its tokens are the frames of `pool5`, of `conv4` with five layers.

    Where the paper normalises over the batch, each layer is normalised over the clip itself: what is
    heard in a clip does not depend on its neighbours. Each clip has unit energy before the first layer.
    """

    takes = ("waveform",)
    probe: ClassVar[dict[str, object]] = {"width": 0.25}

    class Config(Encoder.Config):
        """Form and size."""

        layers: Literal[8, 5] = 8
        """Number of layers, the heads of a task included."""
        width: float = 1.0
        """Factor of all numbers of channels; at 1 they are the published ones."""
        pools: list[int] = field(default_factory=list)
        """Frames of each of the three maxima; none takes the published ones, which suit clips of 10 s and more."""

        def __post_init__(self) -> None:
            if self.width <= 0 or (self.pools and (len(self.pools) != 3 or min(self.pools) < 1)):
                raise ValueError("width is above 0, pools are three numbers of at least 1, or none.")

    config: SoundNet.Config

    def __init__(self, config: SoundNet.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        if modality.shape[0] != 1:
            raise UserError(
                "SoundNet hears one channel.",
                f"The waveform has the shape {tuple(modality.shape)}.",
                "Set `channels: 1` of the modality.",
            )
        self.form = FORMS[config.layers]
        self.blocks = _stacked(config, 1, slice(self.form.tap))
        self.dim: int = self.blocks[-1].conv.out_channels  # type: ignore[union-attr, assignment]

    def frames(self, batch: Tensor | Padded) -> tuple[Tensor, Tensor]:
        """Returns the last layer here (B, D, T), and how many of its frames are real, (B,)."""
        wave = batch.data if isinstance(batch, Padded) else batch
        lengths = torch.full((wave.shape[0],), wave.shape[2], device=wave.device)
        if isinstance(batch, Padded):
            lengths = batch.mask.sum(1)
        loud = (wave.square().sum((1, 2)) / lengths).sqrt()
        grid = wave / loud.clamp(min=1e-4)[:, None, None]
        for block in self.blocks:
            grid, lengths = block(grid, lengths)
        return grid, lengths

    def forward(self, batch: Tensor | Padded) -> Features:
        """Returns pooled (B, D), the mean over time, and tokens (B, T, D) with their mask."""
        grid, lengths = self.frames(batch)
        mask = torch.arange(grid.shape[2], device=grid.device) < lengths[:, None]
        return Features(grid.sum(2) / lengths[:, None], grid.transpose(1, 2), mask)


class Block(nn.Module):
    """A layer: convolution, norm over the clip, rectifier, maximum; what pads a clip stays 0 and counts nowhere."""

    def __init__(self, below: int, above: int, layer: Layer, pool: int) -> None:
        super().__init__()
        self.layer, self.pool = layer, pool
        self.conv = nn.Conv1d(below, above, layer.kernel, layer.stride, layer.padding, bias=False)
        self.scale, self.shift = nn.Parameter(torch.ones(above, 1)), nn.Parameter(torch.zeros(above, 1))

    def forward(self, grid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Returns grid (B, D, T) and the number of its real frames (B,)."""
        grid = self.conv(grid)
        lengths = (lengths + 2 * self.layer.padding - self.layer.kernel) // self.layer.stride + 1
        real = (torch.arange(grid.shape[2], device=grid.device) < lengths[:, None])[:, None]  # (B, 1, T)
        count = (lengths * grid.shape[1])[:, None, None]
        off = (grid - (grid * real).sum((1, 2), keepdim=True) / count) * real
        deviation = (off.square().sum((1, 2), keepdim=True) / count + EPSILON).sqrt()
        grid = F.relu(off / deviation * self.scale + self.shift) * real
        if self.pool > 1:
            grid, lengths = F.max_pool1d(grid, self.pool, ceil_mode=True), -(-lengths // self.pool)
        return grid, lengths


class Heads(nn.Module):
    """The layers above what is handed on, and the last one: a convolution for each head, averaged over time.

    Args:
        network: What they stand on.
        classes: Head -> C.
    """

    def __init__(self, network: SoundNet, classes: Mapping[str, int]) -> None:
        super().__init__()
        form = network.form
        self.blocks = _stacked(network.config, network.dim, slice(form.tap, None))
        top = max(1, round(form.layers[-1].channels * network.config.width))
        self.kernel, stride, self.padding = form.head
        convs = {name: nn.Conv1d(top, count, self.kernel, stride, self.padding) for name, count in classes.items()}
        self.convs = NamedModules(convs)

    def forward(self, grid: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        """Returns head -> logits (B, C); what is shorter than the kernel gets zeros at both ends."""
        for block in self.blocks:
            grid, lengths = block(grid, lengths)
        missing = max(0, self.kernel - grid.shape[2] - 2 * self.padding)
        grid = F.pad(grid, (missing // 2, missing - missing // 2))
        return {name: conv(grid).mean(2) for name, conv in self.convs.items()}


def _stacked(config: SoundNet.Config, below: int, part: slice) -> nn.ModuleList:
    """Returns some of the layers of a form, in order."""
    form = FORMS[config.layers]
    pools = iter(config.pools or form.pools)
    sizes = [next(pools) if layer.pools else 1 for layer in form.layers]
    blocks = []
    for layer, pool in zip(form.layers[part], sizes[part], strict=True):
        above = max(1, round(layer.channels * config.width))
        blocks.append(Block(below, above, layer, pool))
        below = above
    return nn.ModuleList(blocks)
