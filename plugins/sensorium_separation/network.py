"""The streams of Looking to Listen, and what joins them.

A. Ephrat et al., Looking to Listen at the Cocktail Party, SIGGRAPH 2018, section 4 and table 1.

Shapes: B mixtures, N speakers, T frames of the spectrogram, V frames of the video, F bins, D channels,
S samples.
"""

from __future__ import annotations

import math
from dataclasses import field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config
from sensorium.builtin.encoders.sequences import whole
from sensorium.ops.spectra import frames


class VisualStream(Config):
    """Convolutions over time on what an encoder sees in each frame; all speakers share them."""

    channels: int = 256
    """D of each convolution."""
    dilations: list[int] = field(default_factory=lambda: [1, 1, 2, 4, 8, 16])
    """Frames from one tap to the next in each convolution; the first has seven taps, the others five."""


class AudioStream(Config):
    """Convolutions on the mixture's compressed spectrogram, real and imaginary part as channels."""

    channels: int = 96
    """Of each convolution but the last."""
    dilations: list[tuple[int, int]] = field(
        default_factory=lambda: [
            *((2**n, 1) for n in range(6)),
            *((2**n, 2**n) for n in range(6)),
        ]
    )
    """Frames and bins from one tap to the next in each convolution of five by five; two of seven taps
    along bins and along frames come before them."""
    last: int = 8
    """Channels of the last convolution, of one tap."""


class Joint(Config):
    """What reads all streams side by side, frame by frame."""

    hidden: int = 200
    """Channels of the LSTM in either direction."""
    dense: list[int] = field(default_factory=lambda: [600, 600, 600])
    """Channels of the layers after it."""
    skip: bool = False
    """Whether those layers read the streams too, past the LSTM: what each moment shows is heeded much sooner."""


class Watching(nn.Module):
    """The visual stream of one speaker."""

    def __init__(self, config: VisualStream, dim: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, dilation in enumerate(config.dilations):
            taps = 5 if number else 7
            padding = dilation * (taps // 2)
            layers.append(nn.Conv1d(dim, config.channels, taps, padding=padding, dilation=dilation))
            layers += [nn.GroupNorm(1, config.channels), nn.ReLU()]
            dim = config.channels
        self.layers = nn.Sequential(*layers)

    def forward(self, tokens: Tensor, samples: int, hop: int) -> Tensor:
        """Returns (B, T, D) from what is seen in each frame, (B, V, D): of each moment its video frame.

        Args:
            tokens: Of the whole clip.
            samples: S of its sound.
            hop: Samples from one frame of the spectrogram to the next.
        """
        seen = self.layers(tokens.transpose(1, 2))
        return in_step(seen, samples, hop).transpose(1, 2)


def in_step(seen: Tensor, samples: int, hop: int) -> Tensor:
    """Returns (..., T) from what is seen in each video frame, (..., V): of each moment its video frame.

    Args:
        seen: Of the whole clip.
        samples: S of its sound.
        hop: Samples from one frame of the spectrogram to the next.
    """
    # The window of spectrogram frame t is centred on sample t hop; the last hop need not be whole.
    count = seen.shape[-1]
    shown = (torch.arange(frames(samples, hop)) * hop * count // samples).clamp(max=count - 1)
    return seen[..., shown.to(seen.device)]


class Listening(nn.Module):
    """The audio stream."""

    def __init__(self, config: AudioStream) -> None:
        super().__init__()
        shapes = [((7, 1), (1, 1)), ((1, 7), (1, 1)), *(((5, 5), (f, t)) for t, f in config.dilations)]
        shapes.append(((1, 1), (1, 1)))
        layers: list[nn.Module] = []
        below = 2
        for number, (taps, dilation) in enumerate(shapes, start=1):
            above = config.last if number == len(shapes) else config.channels
            padding = (dilation[0] * (taps[0] // 2), dilation[1] * (taps[1] // 2))
            layers.append(nn.Conv2d(below, above, taps, padding=padding, dilation=dilation))
            layers += [nn.GroupNorm(1, above), nn.ReLU()]
            below = above
        self.layers = nn.Sequential(*layers)
        self.last = config.last

    def forward(self, compressed: Tensor) -> Tensor:
        """Returns (B, T, D F) from a compressed spectrogram (B, F, T), complex."""
        return self.heard(torch.stack([compressed.real, compressed.imag], 1))

    def heard(self, parts: Tensor) -> Tensor:
        """Returns (B, T, D F) from real and imaginary parts (B, 2, F, T)."""
        heard: Tensor = self.layers(parts)
        return heard.permute(0, 3, 1, 2).flatten(2)


class Joining(nn.Module):
    """Streams to complex masks, whose real and imaginary parts lie within a bound.

    Args:
        config: Sizes.
        dim: Of all streams together.
        speakers: N.
        bins: F.
        bound: Largest real and imaginary part.
    """

    def __init__(self, config: Joint, dim: int, speakers: int, bins: int, bound: float) -> None:
        super().__init__()
        self.speakers, self.bins, self.bound = speakers, bins, bound
        self.lstm = nn.LSTM(dim, config.hidden, batch_first=True, bidirectional=True)
        layers: list[nn.Module] = []
        self.skip = config.skip
        below = 2 * config.hidden + config.skip * dim
        for width in config.dense:
            layers += [nn.Linear(below, width), nn.ReLU()]
            below = width
        self.dense = nn.Sequential(*layers)
        self.masks = nn.Linear(below, speakers * 2 * bins)
        # At first each speaker gets about the same share of every bin. Weights are not made smaller for that: with a
        # tenth of them the faces are not heeded for hundreds of steps.
        with torch.no_grad():
            bias = torch.zeros(speakers, 2, bins)
            bias[:, 0] = math.atanh(min(0.99, 0.8 / bound))
            self.masks.bias.copy_(bias.flatten())

    def forward(self, streams: Tensor) -> Tensor:
        """Returns masks (B, N, F, T), complex, from streams (B, T, D)."""
        parts = self.parts(streams)
        return torch.complex(parts[:, :, 0], parts[:, :, 1])

    def parts(self, streams: Tensor) -> Tensor:
        """Returns real and imaginary parts of the masks, (B, N, 2, F, T)."""
        joint = whole(self.lstm, streams)
        joint = torch.cat([joint, streams], 2) if self.skip else joint
        # No complex numbers of half precision: from here on in full.
        parts = self.bound * torch.tanh(self.masks(self.dense(F.relu(joint))).float())
        masks: Tensor = parts.unflatten(2, (self.speakers, 2, self.bins)).permute(0, 2, 3, 4, 1)
        return masks
