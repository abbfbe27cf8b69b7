"""Units to speech: how long each unit lasts, and the spectrogram of all of them.

Shapes: B utterances, L units, U steps of four frames, M mel bands, T = 4 U frames, H hidden channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Config, Padded
from sensorium.builtin.encoders import sequences
from sensorium_image2speech.units import STEP, Runs


class Voice(nn.Module):
    """One network reads the units and says how long each lasts, another one speaks step by step.

    Args:
        config: Sizes.
        units: K.
        mels: M.
        longest: Steps of the longest utterance.
    """

    class Config(Config):
        """Sizes."""

        hidden: int = 96
        """H, channels of the state of each network in either direction."""

        def __post_init__(self) -> None:
            if self.hidden < 1:
                raise ValueError("hidden is at least 1.")

    def __init__(self, config: Voice.Config, units: int, mels: int, longest: int) -> None:
        super().__init__()
        width, self.mels, self.longest = config.hidden, mels, longest
        self.embed = nn.Embedding(units, width)
        self.reads = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.lasts = nn.Linear(2 * width, 1)
        self.speaks = nn.GRU(2 * width + 2, width, batch_first=True, bidirectional=True)
        self.bands = nn.Linear(2 * width, STEP * mels)

    def forward(self, said: Runs, mel: Padded) -> dict[str, Tensor]:
        """Returns the losses (B,): how far the spectrogram is off, and the logarithms of the lengths.

        Args:
            said: What was said, and how long each unit lasted.
            mel: How it sounded, (B, M, T or more).
        """
        read = self._read(said.units)
        real = said.units.mask
        lengths = F.mse_loss(self.lasts(read)[..., 0].float(), said.steps.clamp(min=1).log(), reduction="none")
        spoken, mask = self._spoken(read, said.steps)
        right = F.pad(mel.data, (0, max(0, spoken.shape[2] - mel.data.shape[2])))[:, :, : spoken.shape[2]]
        off = (spoken.float() - right).abs() + (spoken.float() - right).square()
        return {
            "spectrogram": (off.mean(1) * mask).sum(1) / mask.sum(1).clamp(min=1),
            "lengths": (lengths * real).sum(1) / real.sum(1).clamp(min=1),
        }

    def speak(self, units: Padded) -> Padded:
        """Returns the spectrogram of units (B, L) that last as long as the network says, (B, M, T); of none, a step."""
        read = self._read(units)
        steps = self.lasts(read)[..., 0].exp().round().clamp(1, self.longest).long() * units.mask
        steps[:, 0].clamp_(min=1)
        return self.uttered(read, steps)

    def uttered(self, read: Tensor, steps: Tensor) -> Padded:
        """Returns the spectrogram (B, M, T) of units that were read (B, L, 2 H) and last so many steps (B, L)."""
        ends = steps.cumsum(1).clamp(max=self.longest)
        mel, mask = self._spoken(read, torch.diff(ends, prepend=torch.zeros_like(ends[:, :1])))
        missing = STEP * self.longest - mel.shape[2]
        return Padded(F.pad(mel.clamp(min=0) * mask[:, None], (0, missing)), F.pad(mask, (0, missing)))

    def _read(self, units: Padded) -> Tensor:
        said, _ = sequences.read(self.reads, self.embed(units.data), units.lengths.clamp(min=1))
        return said

    def _spoken(self, read: Tensor, steps: Tensor) -> tuple[Tensor, Tensor]:
        """Returns (B, M, T) and the mask (B, T) of units (B, L, 2 H) that last so many steps (B, L)."""
        ends, total = steps.cumsum(1), steps.sum(1)
        at = torch.arange(int(total.max().clamp(min=1)), device=steps.device).expand(len(steps), -1).contiguous()
        place = torch.searchsorted(ends, at, right=True).clamp(max=steps.shape[1] - 1)
        lasts = steps.gather(1, place).clamp(min=1)
        gone = (at - (ends.gather(1, place) - lasts) + 0.5) / lasts
        told = torch.cat([read.gather(1, place[..., None].expand(-1, -1, read.shape[2])),
                          torch.stack([gone, lasts.log()], 2).to(read)], 2)  # fmt: skip
        spoken, _ = sequences.read(self.speaks, told, total.clamp(min=1).cpu())
        bands = self.bands(spoken).unflatten(2, (STEP, self.mels))
        mask = (at < total[:, None]).repeat_interleave(STEP, 1)
        return bands.flatten(1, 2).transpose(1, 2), mask


def computed(outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Returns the losses of an objective whose `forward` has them already."""
    return dict(outputs)
