"""Generator and discriminator, each told what the picture should show.

Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016, section 4.1 and metric 2. Neither
normalises over the batch, so that what a sample gets does not depend on its neighbours.

Shapes: B samples, C channels of the picture, H = W its side, S channels of the sentence, Z of the code,
T of the sentence made short, D of a feature.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import UserError

SLOPE = 0.2
"""Of the leaky rectifiers."""


def halvings(size: tuple[int, int]) -> tuple[int, int]:
    """Returns how often a picture is halved until its side is odd or at most 5, and that side.

    Raises:
        UserError: The picture is not a square, or cannot be halved.
    """
    side, times = size[0], 0
    while side % 2 == 0 and side > 5:
        side, times = side // 2, times + 1
    if size[0] != size[1] or times < 1:
        raise UserError(
            f"Pictures of {size[0]} x {size[1]} cannot be drawn.",
            "Their side is a small number doubled a few times: 12, 16, 64.",
            "Set modalities.image.size.",
        )
    return times, side


class Short(nn.Sequential):
    """A sentence (B, S) of unit length in T channels; its own channels are brought to unit variance first."""

    def __init__(self, sentence: int, short: int) -> None:
        super().__init__(nn.Linear(sentence, short), nn.LeakyReLU(SLOPE))
        self.scale = sentence**0.5

    def forward(self, sentence: Tensor) -> Tensor:
        """Returns (B, T)."""
        brief: Tensor = super().forward(sentence * self.scale)
        return brief


class Generator(nn.Module):
    """Draws a picture from a sentence and a Gaussian code, both of which steer each scale.

    Args:
        sentence: S.
        code: Z.
        short: T, channels that the sentence is reduced to.
        width: Channels of the last scale; each scale before it has twice as many.
        channels: C.
        size: H and W.
    """

    def __init__(self, sentence: int, code: int, short: int, width: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        times, self.side = halvings(size)
        self.reduce = Short(sentence, short)
        widths = [width * 2 ** (times - scale) for scale in range(times + 1)]
        self.seed = nn.Linear(short + code, widths[0] * self.side**2)
        self.scales = nn.ModuleList(Scale(before, after, short + code) for before, after in pairwise(widths))
        self.paint = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, sentence: Tensor, code: Tensor) -> Tensor:
        """Returns pictures (B, C, H, W) in [-1, 1].

        Args:
            sentence: (B, S).
            code: (B, Z), normal numbers.
        """
        wish = torch.cat([self.reduce(sentence), code], 1)
        grid = self.seed(wish).unflatten(1, (-1, self.side, self.side))
        for scale in self.scales:
            grid = scale(grid, wish)
        picture: Tensor = self.paint(grid).tanh()
        return picture


class Scale(nn.Module):
    """Twice the rows and columns, scaled and shifted by what is wished (FiLM, Perez et al. 2018)."""

    def __init__(self, before: int, after: int, wish: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(before, after, 3, padding=1)
        self.norm = nn.GroupNorm(1, after, affine=False)
        self.steer = nn.Linear(wish, 2 * after)

    def forward(self, grid: Tensor, wish: Tensor) -> Tensor:
        """Returns (B, D, 2 H, 2 W) from grid (B, D', H, W) and wish (B, T + Z)."""
        grid = self.norm(self.conv(F.interpolate(grid, scale_factor=2)))
        gain, bias = self.steer(wish)[:, :, None, None].chunk(2, 1)
        return F.leaky_relu(grid * (1 + gain) + bias, SLOPE)


class Discriminator(nn.Module):
    """Scores how likely a picture is a real one of its sentence.

    The sentence, made short, stands at each place of the last map, and a 1 x 1 convolution joins both.

    Args:
        sentence: S.
        short: T.
        width: Channels of the first scale; each scale after it has twice as many.
        channels: C.
        size: H and W.
    """

    def __init__(self, sentence: int, short: int, width: int, channels: int, size: tuple[int, int]) -> None:
        super().__init__()
        times, self.side = halvings(size)
        self.reduce = Short(sentence, short)
        widths = [width * 2**scale for scale in range(times + 1)]
        layers: list[nn.Module] = [nn.Conv2d(channels, width, 3, padding=1), nn.LeakyReLU(SLOPE)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.LeakyReLU(SLOPE)]
        self.look = nn.Sequential(*layers)
        self.join = nn.Conv2d(widths[-1] + short, widths[-1], 1)
        self.score = nn.Linear(widths[-1] * self.side**2, 1)

    def forward(self, picture: Tensor, sentence: Tensor) -> Tensor:
        """Returns the logit (B,) of pictures (B, C, H, W) being real ones of their sentences (B, S)."""
        return self.compare(self.look(picture), sentence)

    def compare(self, seen: Tensor, sentence: Tensor) -> Tensor:
        """Returns the logit (B,) of sentences (B, S) and what `look` found in pictures (B, D, H', W')."""
        said = self.reduce(sentence)
        tiled = said[:, :, None, None].expand(-1, -1, self.side, self.side)
        joined = F.leaky_relu(self.join(torch.cat([seen, tiled], 1)), SLOPE)
        logit: Tensor = self.score(joined.flatten(1))[:, 0]
        return logit
