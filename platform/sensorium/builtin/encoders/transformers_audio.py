"""The networks of transformers that hear, with the spectrograms that some of them read.

Shapes: B samples, C channels, L samples of a wave, F bands, T frames, D channels of a frame.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.compliance import kaldi

from sensorium import Features, Modality, Padded, UserError
from sensorium.builtin import pretrained
from sensorium.builtin.encoders.transformers import Pretrained

AST, WHISPER = "audio-spectrogram-transformer", "whisper"
WAVES = ("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "wav2vec2-conformer")
"""Kinds of model that read waves through layers without padding."""
RATE, WINDOW, HOP = 16000, 400, 160
"""Hz, samples of a frame, and samples from one to the next, of AST and Whisper."""
SIZE, EMPHASIS, LOWEST = 512, 0.97, 20.0
"""Samples of a frame with zeros behind, share of the sample before that is taken off, and lowest Hz, of AST."""
AUDIOSET = (-4.2677393, 4.5689974)
"""Mean and deviation of the log-mel levels of AudioSet."""


class Audio(Pretrained):
    """A network of transformers that hears: Wav2Vec 2.0, HuBERT, WavLM, data2vec, Whisper's encoder, AST."""

    takes = ("waveform",)
    tower, reads = "audio_config", ("input_values", "input_features")
    probe: ClassVar[dict[str, Any]] = {
        "architecture": {
            "model_type": "wav2vec2",
            "feat_extract_norm": "layer",
            "do_stable_layer_norm": True,
            "conv_dim": [8, 8],
            "conv_kernel": [10, 8],
            "conv_stride": [5, 4],
            "num_conv_pos_embeddings": 16,
            "num_conv_pos_embedding_groups": 2,
            "hidden_size": 16,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
            "intermediate_size": 16,
        }
    }

    class Config(Pretrained.Config):
        """Which weights, or which architecture."""

        level: tuple[float, float] | None = None
        """Mean and deviation that AST's spectrograms have; None takes them from the weights, or AudioSet's."""

        def __post_init__(self) -> None:
            fresh = self.architecture is None
            super().__post_init__()
            if fresh and self.level is None and self.network().model_type == AST:
                told = pretrained.processor(pretrained.folder(str(self.weights)))
                level = (told.get("mean", AUDIOSET[0]), told.get("std", AUDIOSET[1]))
                object.__setattr__(self, "level", level if told.get("do_normalize", True) else (0.0, 0.5))

        def suits(self) -> dict[str, Any]:
            """Returns rate and scale of the waves that the weights were trained on."""
            if self.weights is None:
                return {}
            told = pretrained.processor(pretrained.folder(self.weights))
            raw = self.network().model_type in WAVES
            wave = {"view": "waveform", "normalise": raw and bool(told.get("do_normalize", False))}
            return {**wave, "sample_rate": int(told["sampling_rate"])} if "sampling_rate" in told else wave

    config: Audio.Config

    def __init__(self, config: Audio.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        kind = self.own.model_type
        if kind not in (*WAVES, AST, WHISPER):
            raise UserError(
                f"Models of the kind {kind!r} are not heard.",
                f"{', '.join((*WAVES, AST, WHISPER))} are.",
                "Choose another model.",
            )
        self.whole = modality.shape[-1] is not None
        if kind == WHISPER:
            from transformers.audio_utils import mel_filter_bank

            bank = mel_filter_bank(WINDOW // 2 + 1, self.own.num_mel_bins, 0, RATE / 2, RATE, "slaney", "slaney")
            self.register_buffer("bank", torch.from_numpy(bank.T).float(), persistent=False)
        if kind == AST:
            bank, _ = kaldi.get_mel_banks(self.own.num_mel_bins, SIZE, RATE, LOWEST, 0.0, 100.0, -500.0, 1.0)
            self.register_buffer("bank", F.pad(bank, (0, 1)), persistent=False)
        if getattr(self.own, "feat_extract_norm", "layer") == "group" and not self.whole:
            raise UserError(
                f"This {kind} normalises over the whole length of a wave, so that silence that pads would change what"
                " it hears.",
                "Sounds of one length were expected; models with feat_extract_norm `layer` take any.",
                "Set the sound's `seconds`.",
            )

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and frames (B, T, D); of AST patches on a grid (bands, frames)."""
        wave = batch.data.mean(1)
        if self.own.model_type == WHISPER:
            return self._whisper(wave, batch.mask.sum(1))
        if self.own.model_type == AST:
            return self._ast(wave, batch.mask)
        return self._wave(wave, batch.mask)

    def _wave(self, wave: Tensor, mask: Tensor) -> Features:
        steps, least, lengths = list(zip(self.own.conv_kernel, self.own.conv_stride, strict=True)), 1, mask.sum(1)
        for kernel, stride in reversed(steps):
            least = (least - 1) * stride + kernel
        missing = max(0, least - wave.shape[1])
        wave, real = F.pad(wave, (0, missing)), F.pad(mask, (0, missing))
        real = real | (torch.arange(wave.shape[1], device=wave.device) < least)  # a frame, where a sound is shorter
        found = self.body(wave, attention_mask=None if self.whole else real)
        for kernel, stride in steps:
            lengths = (lengths - kernel) // stride + 1
        frames = found.last_hidden_state
        heard = torch.arange(frames.shape[1], device=wave.device) < lengths.clamp(min=1)[:, None]
        return Features(self.pooled(found, frames, heard), frames, heard)

    def _whisper(self, wave: Tensor, lengths: Tensor) -> Features:
        """Hears the first 30 s, with silence after the end, as it was trained (Radford et al., ICML 2023)."""
        most = 2 * self.own.max_source_positions * HOP
        bank: Tensor = self.bank  # type: ignore[assignment]
        with torch.autocast(wave.device.type, enabled=False):
            wave = F.pad(wave.float(), (0, max(0, most - wave.shape[1])))[:, :most]
            window = torch.hann_window(WINDOW, device=wave.device)
            power = torch.stft(wave, WINDOW, HOP, window=window, return_complex=True)[..., :-1].abs() ** 2
            levels = (bank @ power).clamp(min=1e-10).log10()
            levels = (torch.maximum(levels, levels.amax((1, 2), keepdim=True) - 8) + 4) / 4
        found = self.body(levels)
        frames = found.last_hidden_state
        count = (-(-lengths // (2 * HOP))).clamp(1, frames.shape[1])
        heard = torch.arange(frames.shape[1], device=wave.device) < count[:, None]
        return Features(self.pooled(found, frames, heard), frames, heard)

    def _ast(self, wave: Tensor, mask: Tensor) -> Features:
        """Hears patches of a spectrogram of fixed length, padded by zeros (Gong et al., Interspeech 2021)."""
        mean, deviation = self.config.level or AUDIOSET
        bins, most = self.own.num_mel_bins, self.own.max_length
        bank: Tensor = self.bank  # type: ignore[assignment]
        length = WINDOW + (most - 1) * HOP
        with torch.autocast(wave.device.type, enabled=False):
            wave = F.pad(wave.float() * mask, (0, length))[:, :length]
            frames = wave.unfold(1, WINDOW, HOP)
            frames = frames - frames.mean(-1, keepdim=True)
            frames = frames - EMPHASIS * F.pad(frames, (1, 0), mode="replicate")[..., :-1]
            window = torch.hann_window(WINDOW, periodic=False, device=wave.device)
            power = torch.fft.rfft(frames * window, SIZE).abs() ** 2
            levels = (power @ bank.T).clamp(min=torch.finfo(torch.float32).eps).log()  # (B, T, F), as Kaldi has them
        count = (1 + (mask.sum(1) - WINDOW) // HOP).clamp(min=1)
        levels = levels * (torch.arange(most, device=wave.device) < count[:, None])[..., None]
        found = self.body((levels - mean) / (2 * deviation))
        rows, columns = (
            (size - self.own.patch_size) // stride + 1
            for size, stride in ((bins, self.own.frequency_stride), (most, self.own.time_stride))
        )
        patches = found.last_hidden_state[:, -rows * columns :]
        return Features(self.pooled(found, patches, None), patches, None, (rows, columns))
