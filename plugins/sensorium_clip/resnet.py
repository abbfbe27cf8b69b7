"""CLIP's residual network: three convolutions before it, means in place of strides, and attention as its pooling.

Radford et al. 2021, section 2.4; He et al., Bag of Tricks, CVPR 2019 (ResNet-D); Zhang, ICML 2019 (means before
strides). Parameters have the names that open_clip's weights give them.

Shapes: B samples, C channels, W = 32 times the first width, D channels of the common space, H rows and V columns.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Features

STRIDE = 32
"""Pixels of the picture for a place of the last map, along each axis."""
EXPANSION = 4
"""Channels that come out of a bottleneck, over those within."""


class Bottleneck(nn.Module):
    """Three convolutions around a shortcut; where the map shrinks, a mean does it on both ways.

    Args:
        before: Channels that come in.
        inner: Channels within; four times as many come out.
        stride: Places of the map that become one, along each axis.
    """

    def __init__(self, before: int, inner: int, stride: int) -> None:
        super().__init__()
        after = EXPANSION * inner
        self.conv1, self.bn1 = nn.Conv2d(before, inner, 1, bias=False), nn.BatchNorm2d(inner)
        self.conv2, self.bn2 = nn.Conv2d(inner, inner, 3, padding=1, bias=False), nn.BatchNorm2d(inner)
        self.conv3, self.bn3 = nn.Conv2d(inner, after, 1, bias=False), nn.BatchNorm2d(after)
        self.shrink = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.downsample: nn.Sequential | None = None
        if stride > 1 or before != after:
            fitted = {"-1": self.shrink, "0": nn.Conv2d(before, after, 1, bias=False), "1": nn.BatchNorm2d(after)}
            self.downsample = nn.Sequential(OrderedDict(fitted))
        nn.init.zeros_(self.bn3.weight)

    def forward(self, grid: Tensor) -> Tensor:
        """Returns the map (B, 4 C, H, V)."""
        changed = F.relu(self.bn1(self.conv1(grid)))
        changed = self.shrink(F.relu(self.bn2(self.conv2(changed))))
        changed = self.bn3(self.conv3(changed))
        return F.relu(changed + (grid if self.downsample is None else self.downsample(grid)))


class AttentionPool(nn.Module):
    """What the mean of a map asks of its places, through several heads, and into the common space.

    Args:
        places: H * V.
        width: W.
        heads: Number of heads, which divides W.
        dim: D.
    """

    def __init__(self, places: int, width: int, heads: int, dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.positional_embedding = nn.Parameter(width**-0.5 * torch.randn(places + 1, width))
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(width, width) for _ in range(3))
        self.c_proj = nn.Linear(width, dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=width**-0.5)

    def forward(self, grid: Tensor) -> Tensor:
        """Returns (B, D)."""
        places = grid.flatten(2).transpose(1, 2)
        places = torch.cat([places.mean(1, keepdim=True), places], 1) + self.positional_embedding
        query, key, value = (
            layer(asked).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for layer, asked in ((self.q_proj, places[:, :1]), (self.k_proj, places), (self.v_proj, places))
        )
        found = F.scaled_dot_product_attention(query, key, value)  # (B, heads, 1, W / heads)
        pooled: Tensor = self.c_proj(found.flatten(1))
        return pooled


class ResNet(nn.Module):
    """The network of OpenAI's RN50 and its kin.

    Args:
        size: Rows and columns of the picture, in pixels, multiples of 32.
        depth: Bottlenecks of each of the four stages.
        width: Channels of the first stage, within its bottlenecks.
        heads: Heads of the pooling.
        dim: D.
    """

    def __init__(self, size: tuple[int, int], depth: Sequence[int], width: int, heads: int, dim: int) -> None:
        super().__init__()
        self.grid = (size[0] // STRIDE, size[1] // STRIDE)
        half = width // 2
        self.conv1, self.bn1 = nn.Conv2d(3, half, 3, 2, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv2, self.bn2 = nn.Conv2d(half, half, 3, padding=1, bias=False), nn.BatchNorm2d(half)
        self.conv3, self.bn3 = nn.Conv2d(half, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        before = width
        for stage, count in enumerate(depth):
            inner = width * 2**stage
            strides = [1 if stage == 0 else 2, *[1] * (count - 1)]
            blocks = [Bottleneck(EXPANSION * inner if i else before, inner, stride) for i, stride in enumerate(strides)]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            before = EXPANSION * inner
        self.attnpool = AttentionPool(self.grid[0] * self.grid[1], before, heads, dim)

    def forward(self, picture: Tensor) -> Features:
        """Returns pooled (B, D)."""
        grid = picture
        for number in (1, 2, 3):
            grid = F.relu(self.get_submodule(f"bn{number}")(self.get_submodule(f"conv{number}")(grid)))
        grid = F.avg_pool2d(grid, 2)
        for number in (1, 2, 3, 4):
            grid = self.get_submodule(f"layer{number}")(grid)
        return Features(self.attnpool(grid))
