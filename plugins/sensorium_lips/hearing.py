"""What is heard of speech: cepstra, loudness, and how both change (Suwajanakorn et al. 2017, section 4.1.1).

Shapes: B sounds, S samples, T steps, D = 28 numbers of a step, F frames of a film.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.functional import compute_deltas
from torchaudio.transforms import MFCC

CEPSTRA = 13
NUMBERS = 2 * (CEPSTRA + 1)
"""D: cepstra and loudness, and their slopes."""
WINDOW, HOP = 0.025, 0.010
"""Seconds of a window, and from one to the next."""
BANDS = 26
LOUD = 0.1
"""Root mean square that the loudest 10 ms are brought to."""
QUIET = 1e-6
"""Power that is added before a logarithm: 40 dB below the loudest."""


class Hearing(nn.Module):
    """Sounds at one rate to 100 steps a second.

    Args:
        rate: Samples a second.
        ahead: Steps of silence that are heard after the end.
    """

    def __init__(self, rate: int, ahead: int) -> None:
        super().__init__()
        self.window, self.hop, self.rate = 2 * round(WINDOW * rate / 2), round(HOP * rate), rate
        self.silence = ahead * self.hop + self.window
        options = {"n_fft": self.window, "hop_length": self.hop, "n_mels": BANDS}
        self.cepstra = MFCC(rate, CEPSTRA, log_mels=True, melkwargs=options)
        self.cepstra.register_buffer("dct_mat", self.cepstra.dct_mat.contiguous())  # as files want it

    def forward(self, sounds: Tensor) -> Tensor:
        """Returns (B, T, D) of sounds (B, S), however loud they are.

        Step t is what is heard around t times 10 ms. Zeros behind a sound change nothing before its end.
        """
        with torch.autocast(sounds.device.type, enabled=False):
            sounds = F.pad(sounds.float(), (0, self.silence))
            loudest = F.avg_pool1d(sounds.square(), self.hop, self.hop).amax(1, keepdim=True)
            sounds = sounds * (LOUD / loudest.sqrt().clamp(min=1e-8))
            half = self.window // 2
            power = F.avg_pool1d(F.pad(sounds.square(), (half, half)), self.window, self.hop)
            heard = torch.cat([self.cepstra(sounds), (power + QUIET).log()[:, None]], 1)
            slopes = _slopes(heard) if torch.compiler.is_exporting() else compute_deltas(heard)
            return torch.cat([heard, slopes], 1).transpose(1, 2)

    def steps(self, frames: int, frame_rate: float, device: torch.device) -> Tensor:
        """Returns the step that lies in the middle of each frame, (F,): by its time, so that nothing drifts."""
        times = (torch.arange(frames, device=device, dtype=torch.float64) + 0.5) / frame_rate
        return (times * self.rate / self.hop).round().long()


def _slopes(heard: Tensor) -> Tensor:
    """Returns what `compute_deltas` does, (B, D, T), without a convolution of B groups, which ONNX does not know."""
    steps, padded = heard.shape[2], F.pad(heard, (2, 2), mode="replicate")
    after, before = ([padded[..., 2 + side * far : 2 + side * far + steps] for far in (1, 2)] for side in (1, -1))
    return ((after[0] - before[0]) + 2 * (after[1] - before[1])) / 10


def around(heard: Tensor, steps: Tensor, reach: int, stride: int) -> Tensor:
    """Returns what is heard from `reach` steps before to `reach` after some steps, every `stride`, (B, F, W D).

    Args:
        heard: (B, T, D); before the beginning and after the end it stays as it is there.
        steps: (F,).
        reach: Steps on either side.
        stride: Steps from one that is taken to the next.
    """
    offsets = torch.arange(-reach, reach + 1, stride, device=steps.device)
    places = (steps[:, None] + offsets).clamp(0, heard.shape[1] - 1)
    return heard[:, places].flatten(2)
