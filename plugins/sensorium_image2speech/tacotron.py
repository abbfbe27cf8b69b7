"""Units to speech as published: Tacotron 2, which finds by attention how long each unit lasts.

J. Shen et al., Natural TTS Synthesis by Conditioning WaveNet on Mel Spectrogram Predictions, ICASSP 2018.

Shapes: B utterances, L units, M mel bands, T frames.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config, Padded
from sensorium_image2speech.units import STEP, Runs

PRENET = 256
"""Channels of the pre-net, as published."""
DROPPED = 0.5
"""Share of the pre-net's channels that are left out, always."""


class Tacotron(nn.Module):
    """Tacotron 2 of torchaudio, which reads units in place of letters.

    Args:
        config: Sizes.
        units: K.
        mels: M.
        longest: Steps of the longest utterance.
    """

    class Config(Config):
        """Sizes; published ones by default."""

        embedding: int = 512
        """Channels of a unit, of the encoder and of the post-net."""
        hidden: int = 1024
        """Channels of the state of the attention's and of the decoder's LSTM."""
        attention: int = 128
        """Channels in which units and state are compared."""

        def __post_init__(self) -> None:
            if min(self.embedding, self.hidden, self.attention) < 1:
                raise ValueError("embedding, hidden and attention are at least 1.")

    def __init__(self, config: Tacotron.Config, units: int, mels: int, longest: int) -> None:
        super().__init__()
        from torchaudio.models import Tacotron2

        self.longest = longest
        options: dict[str, Any] = {
            "encoder_embedding_dim": config.embedding,
            "symbol_embedding_dim": config.embedding,
            "postnet_embedding_dim": config.embedding,
            "decoder_rnn_dim": config.hidden,
            "attention_rnn_dim": config.hidden,
            "attention_hidden_dim": config.attention,
            "decoder_max_step": STEP * longest,
            "prenet_dim": PRENET,
        }
        self.network = Tacotron2(n_mels=mels, n_symbol=units, **options)
        self.network.decoder.prenet = Prenet(mels)

    def forward(self, said: Runs, mel: Padded) -> dict[str, Tensor]:
        """Returns the losses (B,): of the spectrogram before and after the post-net, and of the stop token.

        Args:
            said: What was said; how long each unit lasted is not looked at.
            mel: How it sounded, (B, M, T).
        """
        lengths = said.units.mask.sum(1)
        order = lengths.argsort(descending=True, stable=True)  # as its encoder wants them
        frames = mel.mask.sum(1)
        before, after, stop, _ = self.network(said.units.data[order], lengths[order], mel.data[order], frames[order])
        back, ends = order.argsort(), frames - 1
        aim = F.one_hot(ends, mel.mask.shape[1]).float()
        stops = F.binary_cross_entropy_with_logits(stop[back].float(), aim, reduction="none")

        def mean(off: Tensor) -> Tensor:
            return (off * mel.mask).sum(1) / frames

        return {
            "spectrogram": mean((after[back].float() - mel.data).square().mean(1)),
            "before": mean((before[back].float() - mel.data).square().mean(1)),
            "stop": mean(stops),
        }

    def speak(self, units: Padded) -> Padded:
        """Returns the spectrogram of units (B, L), up to the stop token, (B, M, T); each by itself."""
        spoken = [
            self._spoken(row[real] if real.any() else row[:1]) for row, real in zip(units.data, units.mask, strict=True)
        ]
        frames = torch.tensor([each.shape[1] for each in spoken], device=units.data.device)
        most = STEP * self.longest
        data = torch.stack([F.pad(each.clamp(min=0), (0, most - each.shape[1])) for each in spoken])
        return Padded(data, torch.arange(most, device=data.device) < frames[:, None])

    def _spoken(self, units: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it was cut: a network that is not trained never stops
            mel, frames, _ = self.network.infer(units[None])
        spoken: Tensor = mel[0, :, : int(frames)]
        return spoken


class Prenet(nn.Module):
    """Two layers whose dropout stays on in use, as published; there the same channels are always left out."""

    masks: Tensor

    def __init__(self, mels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(mels, PRENET, bias=False), nn.Linear(PRENET, PRENET, bias=False)])
        kept = torch.rand(2, PRENET, generator=torch.Generator().manual_seed(0)) >= DROPPED
        self.register_buffer("masks", kept / (1 - DROPPED))

    def forward(self, frames: Tensor) -> Tensor:
        """Returns (..., 256) from frames (..., M)."""
        for layer, mask in zip(self.layers, self.masks, strict=True):
            frames = F.relu(layer(frames))
            frames = F.dropout(frames, DROPPED) if self.training else frames * mask
        return frames
