"""Sounds as mel spectrograms and back, and an encoder of waveforms that looks at them.

Shapes: B sounds, S samples, M mel bands, F bins, T frames.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
import torchaudio.functional
from torch import Tensor, nn

from sensorium import Config, Encoder, Features, Modality, Padded, UserError
from sensorium.builtin.modalities.audio import Audio
from sensorium.ops.audio import griffin_lim

FLOOR = 1e-3
"""Magnitude that counts as silence; a sine as loud as a sound's largest sample has about 0.5."""


class Spectrum(Config):
    """How a sound is cut into frames and bands."""

    n_fft: int = 400
    """Samples of a window and of its Fourier transform."""
    hop_length: int = 80
    """Samples from one window to the next."""
    n_mels: int = 64
    """M."""
    griffin_lim: int = 32
    """Steps in which phases are found for magnitudes."""

    def __post_init__(self) -> None:
        if min(self.n_fft, self.hop_length, self.n_mels, self.griffin_lim) < 1:
            raise ValueError("n_fft, hop_length, n_mels and griffin_lim are at least 1.")
        if self.hop_length > self.n_fft // 2:
            raise ValueError("hop_length is at most half of n_fft, so that windows overlap.")


class Mel(nn.Module):
    """Log-mel spectrograms, in which silence is 0, and sounds for them.

    Each sound counts as if its largest sample were 1. What lies beyond its end is silence, so that nothing depends on
    how far a batch is padded.
    """

    window: Tensor
    bands: Tensor
    inverse: Tensor

    def __init__(self, config: Spectrum, sample_rate: int) -> None:
        super().__init__()
        self.hop, self.steps = config.hop_length, config.griffin_lim
        bands = torchaudio.functional.melscale_fbanks(
            config.n_fft // 2 + 1, 0.0, sample_rate / 2, config.n_mels, sample_rate
        )  # (F, M)
        if not bands.any(0).all():
            raise UserError(
                f"{config.n_mels} mel bands are too many for windows of {config.n_fft} samples: some hold no bin.",
                "Each band holds one.",
                "Lower n_mels, or raise n_fft.",
            )
        self.register_buffer("window", torch.hann_window(config.n_fft), persistent=False)
        self.register_buffer("bands", bands, persistent=False)
        self.register_buffer("inverse", torch.linalg.pinv(bands), persistent=False)

    @torch.no_grad()
    def forward(self, sounds: Padded) -> Padded:
        """Returns (B, M, T), 0 for silence and about 6 for the loudest, from sounds (B, 1, S)."""
        with torch.autocast(sounds.data.device.type, enabled=False):
            wave = (sounds.data[:, 0] * sounds.mask).float()
            wave = wave / wave.abs().amax(1, keepdim=True).clamp(min=1e-5)
            options: dict[str, Any] = {"hop_length": self.hop, "window": self.window, "pad_mode": "constant"}
            found = torch.stft(wave, len(self.window), return_complex=True, **options)
            magnitude = found.abs() / self.window.sum()
            mel = (magnitude.transpose(1, 2) @ self.bands).transpose(1, 2).clamp(min=FLOOR)
            frames = 1 + sounds.mask.sum(1) // self.hop
            mask = torch.arange(mel.shape[2], device=mel.device) < frames[:, None]
            return Padded((mel / FLOOR).log() * mask[:, None], mask)

    @torch.no_grad()
    def sound(self, mel: Padded) -> Padded:
        """Returns sounds (B, 1, S) for log-mel spectrograms (B, M, T), their largest sample being 1 each."""
        with torch.autocast(mel.data.device.type, enabled=False):
            bands = FLOOR * (mel.data.float().exp() - 1).clamp(min=0)
            magnitude = (bands.transpose(1, 2) @ self.inverse).transpose(1, 2).clamp(min=0)
            wave = griffin_lim(magnitude * self.window.sum(), self.window, self.hop, self.steps)
            samples = self.hop * mel.mask.sum(1, keepdim=True).clamp(min=1)
            mask = torch.arange(wave.shape[1], device=wave.device) < samples
            wave = wave * mask
            return Padded((wave / wave.abs().amax(1, keepdim=True).clamp(min=1e-5))[:, None], mask)


class Heard(Encoder):
    """A waveform by its log-mel spectrogram, which another encoder looks at."""

    takes = ("waveform",)
    exportable = False
    probe: ClassVar[dict[str, Any]] = {"encoder": {"name": "convnet", "widths": [4], "depth": 0, "dim": 8}}

    class Config(Encoder.Config):
        """What looks at the spectrogram, and how that is made."""

        encoder: Encoder.Config
        """An encoder of spectrograms."""
        spectrum: Spectrum = Spectrum()
        """How the sound is cut into frames and bands."""

    config: Heard.Config

    def __init__(self, config: Heard.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        if not isinstance(modality, Audio) or modality.shape[0] != 1:
            raise UserError("Only sounds of one channel are heard.", "", "Set `channels: 1` of the modality.")
        rate, spectrum = modality.config.sample_rate, config.spectrum
        self.mel = Mel(spectrum, rate)
        view: dict[str, Any] = {"n_fft": spectrum.n_fft, "hop_length": spectrum.hop_length, "n_mels": spectrum.n_mels}
        self.encoder: Encoder = config.encoder.build(Audio(Audio.Config(sample_rate=rate, **view)))
        self.dim = self.encoder.dim

    def forward(self, batch: Padded) -> Features:
        """Returns what the encoder makes of the spectrograms, whose values it gets at a deviation of about 1."""
        mel = self.mel(batch)
        features: Features = self.encoder(Padded(mel.data[:, None] / math.sqrt(-math.log(FLOOR)), mel.mask))
        return features
