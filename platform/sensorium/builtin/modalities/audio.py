"""Sound: from files, bytes or samples to a waveform or spectrogram, and back to WAV or PNG.

Shapes: B clips, C channels, T samples of a waveform or frames of a spectrogram, F frequency bins.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from numbers import Integral
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import soundfile
import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torchaudio.transforms import Resample

from sensorium import MediaError, Modality, Padded
from sensorium.builtin.modalities import container
from sensorium.builtin.modalities.source import opened, readable
from sensorium.builtin.modalities.spectrogram import described, masked, png, view
from sensorium.builtin.modalities.wav import claimed

BLOCK = 1 << 18
"""Samples of all channels read at a time, so that memory follows what a file holds and not what its header says."""

COPIES = 2
"""Times that all samples lie in memory while they are decoded: in pieces, and in one."""

KERNEL = 1 << 22
"""Largest number of coefficients of a resampling filter; between rates of awkward ratio it explodes."""

WHOLE = 0.9
"""Least share of the samples in a header that a file holds; the header of an MP3 is an estimate."""

FAINTEST = 1e-7
"""Added to the variance of a wave that is brought to 1, which that of silence is not."""

LOUDEST = 16.0
"""Largest sample that is taken for one of full scale 1; floats at the scale of integers lie far above it."""

STANDARDISED = "(x - mean) / sqrt(variance + added), over what is heard; silence at the end stays silence."
FITTED = "Of longer ones their middle; shorter ones get silence at the end."


class Audio(Modality):
    """Sound at one sample rate, as a waveform, spectrogram, mel spectrogram or MFCC."""

    accepts = (
        "audio/wav",
        "audio/x-wav",
        "audio/flac",
        "audio/x-flac",
        "audio/ogg",
        "audio/mpeg",
        "audio/mp4",
        "audio/x-m4a",
        "audio/webm",
    )
    limits = ("max_seconds", "max_bytes")

    class Config(Modality.Config):
        """Sample rate, length, view and augmentation. Augmentation is off unless asked for."""

        sample_rate: int = 16000
        """Samples a second that everything is resampled to, in Hz."""

        channels: int = 1
        """1 takes the mean of all channels; with more, mono is repeated."""

        seconds: float | None = None
        """Length of every clip: longer ones give their middle, shorter ones get silence at the end.
        None keeps each one's own."""

        view: Literal["waveform", "spectrogram", "mel", "log_mel", "mfcc"] = "log_mel"
        """`spectrogram` and `mel` are magnitudes to the power `power`; `log_mel` is in dB, with a floor 80 dB
        below the loudest; `mfcc` is the orthonormal DCT-II of `log_mel`."""

        n_fft: int = 400
        """Samples of a window and of its Fourier transform; gives n_fft / 2 + 1 bins."""

        hop_length: int = 160
        """Samples from one window to the next."""

        window: Literal["hann", "hamming"] = "hann"
        """Shape of the window."""

        power: Literal[1, 2] = 2
        """1 for magnitude, 2 for power."""

        n_mels: int = 64
        """Number of mel bands."""

        n_mfcc: int = 20
        """Number of cepstral coefficients."""

        standardise: bool = True
        """Brings each clip to mean 0 and deviation 1: all values of `log_mel`, each coefficient of `mfcc`."""

        normalise: bool = False
        """Brings the recorded part of each `waveform` to mean 0 and variance 1, as Wav2Vec 2.0 hears it."""

        mean: float = 0.0
        """Level in dB that is subtracted from `log_mel` that is not standardised, so that loud clips stay loud."""

        std: float = 1.0
        """What `log_mel` is divided by after that, in dB."""

        shift: float = 0.0
        """Largest move in time, in seconds: inside the recording where that is longer than `seconds`,
        else silence moves in."""

        mask_bins: float = 0.0
        """Largest share of bins in a band that is set to the mean (SpecAugment, Park et al. 2019)."""

        mask_frames: float = 0.0
        """Largest share of frames in a stretch that is set to the mean."""

        max_seconds: float = 600.0
        """Length in a file's header above which it is refused before it is decoded."""

        max_bytes: int = 4 << 30
        """Memory for all samples of all channels, at the file's own rate, above which decoding stops."""

        def __post_init__(self) -> None:
            for name in ("sample_rate", "channels", "n_fft", "hop_length", "n_mels", "n_mfcc"):
                if getattr(self, name) < 1:
                    raise ValueError(f"{name} is at least 1.")
            if self.view == "mfcc" and self.n_mfcc > self.n_mels:
                raise ValueError("n_mfcc is at most n_mels.")
            if self.seconds is not None and self.seconds * self.sample_rate < self.n_fft:
                raise ValueError("seconds hold at least one window of n_fft samples.")
            if self.normalise and self.view != "waveform":
                raise ValueError("normalise is for the view waveform.")
            if self.std <= 0:
                raise ValueError("std is above 0.")
            if (self.mean, self.std) != (0, 1) and (self.view != "log_mel" or self.standardise):
                raise ValueError("mean and std are for the view log_mel with standardise: false.")
            if self.shift < 0 or self.max_seconds <= 0 or self.max_bytes <= 0:
                raise ValueError("shift is at least 0, max_seconds and max_bytes above 0.")
            if not (0 <= self.mask_bins <= 1 and 0 <= self.mask_frames <= 1):
                raise ValueError("mask_bins and mask_frames lie between 0 and 1.")

    config: Audio.Config

    def __init__(self, config: Audio.Config) -> None:
        super().__init__(config)
        self.length = None if config.seconds is None else round(config.seconds * config.sample_rate)
        self.view = view(config)
        if config.view == "waveform":
            self.form, self.media_type, self.shape = "waveform", "audio/wav", (config.channels, self.length)
        else:
            bins = {"spectrogram": config.n_fft // 2 + 1, "mfcc": config.n_mfcc}.get(config.view, config.n_mels)
            frames = None if self.length is None else 1 + self.length // config.hop_length
            self.form, self.media_type, self.shape = "spectrogram", "image/png", (config.channels, bins, frames)

    def decode(self, raw: Any) -> Tensor:
        """Returns the samples (C, T), float32 in [-1, 1), at `sample_rate`.

        Args:
            raw: A path, URI or bytes of a WAV, FLAC, OGG or MP3 file, or of an M4A, MP4 or WebM file with sound
                (which PyAV reads); or samples and their rate in Hz: an array (T,) or (T, C), or a tensor (T,) or
                (C, T). Integers count to full scale.

        Raises:
            MediaError: It is not a readable sound, is empty, too long, or of another number of channels.
        """
        if isinstance(raw, (tuple, list)) and len(raw) == 2:
            name, (samples, rate) = "the clip given", _samples(raw[0], raw[1])
        elif isinstance(raw, (str, Path, bytes, bytearray, memoryview)):
            with opened(raw) as (file, name):
                samples, rate = self._read(file, name)
        else:
            raise MediaError(
                f"{type(raw).__name__} is not a sound.", "A path, bytes, or samples with their rate were expected."
            )
        if samples.shape[1] == 0:
            raise MediaError(f"{name} holds no samples.", "", "Replace the file or leave it out.")
        if not samples.isfinite().all():
            raise MediaError(f"{name} holds samples that are not finite numbers.", "", "Write it again.")
        if samples.abs().max() > LOUDEST:
            raise MediaError(
                f"{name} holds samples of up to {samples.abs().max():.6g}.",
                "Floats of full scale 1 were expected.",
                "Divide them by the largest value that is possible, 32768 for 16 bits.",
            )
        return self._resampled(self._mixed(samples, name), rate, name)

    def cost(self, raw: Any) -> int:
        """Returns the bytes of its samples, by the header; of a container, what may be read of it at most."""
        with suppress(Exception), opened(raw) as (file, _):
            if container.holds(file):
                count = container.bound(file, self.config.max_seconds)
            else:
                with soundfile.SoundFile(file) as sound:
                    count = sound.channels * sound.frames
            return int(min(4 * COPIES * count, self.config.max_bytes))
        return 0

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns a waveform (C, T) or a spectrogram (C, F, T), augmented if `random` is given."""
        wave = self._window(value, random)
        if self.config.view == "waveform":
            return wave
        wave = F.pad(wave, (0, max(0, self.config.n_fft - wave.shape[1])))
        picture: Tensor = self.view(wave)
        if random is not None:
            picture = masked(picture, (self.config.mask_bins, self.config.mask_frames), random)
        return picture

    def collate(self, values: Sequence[Tensor]) -> Padded:
        """Returns (B, C, T) or (B, C, F, T), with zeros after the end of each."""
        lengths = torch.tensor([value.shape[-1] for value in values])
        longest = int(lengths.max())
        data = torch.stack([F.pad(value, (0, longest - value.shape[-1])) for value in values])
        return Padded(data, torch.arange(longest) < lengths[:, None])

    def encode(self, value: Tensor | Padded) -> bytes:
        """Returns a waveform as WAV (16 bits), or a spectrogram as PNG with low frequencies below; what pads is cut."""
        if isinstance(value, Padded):
            value = value.data[..., value.mask]
        value = value.detach().cpu().float()
        if self.config.view != "waveform":
            return png(value, logarithm=self.config.view in ("spectrogram", "mel"))
        buffer = io.BytesIO()
        soundfile.write(buffer, value.T.numpy(), self.config.sample_rate, "PCM_16", format="WAV")
        return buffer.getvalue()

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from a file to a waveform or spectrogram."""
        options = self.config
        return [
            {"step": "decode", "reads": list(self.accepts), "about": "Floats of full scale 1."},
            {"step": "mix", "channels": options.channels, "about": "1 is the mean of all; else mono is repeated."},
            {"step": "resample", "sample_rate": options.sample_rate, "about": "torchaudio.transforms.Resample."},
            *([{"step": "fit", "samples": self.length, "about": FITTED}] if self.length else []),
            *([{"step": "standardise", "added": FAINTEST, "about": STANDARDISED}] if options.normalise else []),
            *described(options),
            {"step": "pad", "value": 0.0, "about": "To the longest; the mask is true where a time is real."},
        ]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns the steps from a waveform to a WAV, or from a spectrogram to a picture."""
        options = self.config
        if options.view == "waveform":
            return [{"step": "encode", "as": "audio/wav", "sample_rate": options.sample_rate, "bits": 16}]
        about = "Grey from the lowest to the highest value, low bins below."
        logarithm = (
            [{"step": "logarithm", "base": 10, "least": 1e-10}] if options.view in ("spectrogram", "mel") else []
        )
        return [*logarithm, {"step": "encode", "as": "image/png", "about": about}]

    def example(self, random: Generator) -> bytes:
        """Returns a WAV of noise, as long as a clip, or of one to two seconds where that varies."""
        seconds = self.config.seconds or 1 + float(torch.rand((), generator=random))
        noise = 0.1 * torch.randn(round(seconds * self.config.sample_rate), generator=random)
        buffer = io.BytesIO()
        soundfile.write(buffer, noise.clamp(-1, 1).numpy(), self.config.sample_rate, "PCM_16", format="WAV")
        return buffer.getvalue()

    def _read(self, file: BinaryIO, name: str) -> tuple[Tensor, int]:
        if container.holds(file):
            most = self.config.max_bytes // (4 * COPIES)
            samples, rate = container.read(file, name, self.config.max_seconds, most)
            return torch.from_numpy(samples), rate
        length = claimed(file)
        if length is not None and length[1] < WHOLE * length[0]:
            raise MediaError(f"{name} breaks off, with {length[1]} of {length[0]} bytes of samples.")
        handle = file if isinstance(file, io.BytesIO) else file.fileno()  # twice as fast as through Python
        with readable(name, "sound", "A WAV, FLAC, OGG, MP3 or M4A file was expected."):
            try:
                with soundfile.SoundFile(handle, closefd=False) as sound:
                    return self._whole(sound, name), sound.samplerate
            except soundfile.LibsndfileError as cause:  # whose message is the address of `file`
                raise ValueError(cause.error_string) from cause

    def _whole(self, sound: soundfile.SoundFile, name: str) -> Tensor:
        if sound.frames > self.config.max_seconds * sound.samplerate:
            raise MediaError(
                f"{name} lasts {sound.frames / sound.samplerate:.0f} s.",
                f"At most {self.config.max_seconds:g} s were expected.",
                "Cut it, or raise max_seconds.",
            )
        most = self.config.max_bytes // (4 * COPIES * sound.channels)
        blocks, count = [np.zeros((0, sound.channels), np.float32)], 0
        while len(block := sound.read(max(1, BLOCK // sound.channels), dtype="float32", always_2d=True)):
            blocks.append(block)
            count += len(block)
            if count > most:
                raise MediaError(
                    f"{name} holds {sound.channels} channels at {sound.samplerate} Hz, over {most} samples each.",
                    f"At most {self.config.max_bytes} bytes of memory may be needed.",
                    "Bring it to fewer channels or a lower rate, cut it, or raise max_bytes.",
                )
        samples = np.concatenate(blocks)
        if len(samples) < WHOLE * sound.frames:
            raise MediaError(f"{name} breaks off, with {len(samples)} of {sound.frames} samples.")
        return torch.from_numpy(samples.T)

    def _mixed(self, samples: Tensor, name: str) -> Tensor:
        wanted = self.config.channels
        if wanted == 1:
            return samples.mean(0, keepdim=True)
        if samples.shape[0] not in (1, wanted):
            raise MediaError(f"{name} has {samples.shape[0]} channels.", f"1 or {wanted} were expected.")
        return samples.expand(wanted, -1)

    def _resampled(self, samples: Tensor, rate: int, name: str) -> Tensor:
        wanted = self.config.sample_rate
        if rate == wanted:
            return samples
        common = math.gcd(rate, wanted)
        if (rate // common) * (wanted // common) > KERNEL:
            raise MediaError(
                f"{name} has {rate} Hz, which cannot be brought to {wanted} Hz.",
                "Two rates with a simple ratio were expected.",
                "Resample the file before, for instance to 48000 Hz.",
            )
        resampled: Tensor = _resampler(rate, wanted)(samples)
        return resampled

    def _window(self, wave: Tensor, random: Generator | None) -> Tensor:
        length = self.length or wave.shape[1]
        spare = wave.shape[1] - length
        start = max(0, spare) // 2
        reach = round(self.config.shift * self.config.sample_rate)
        if random is not None and reach:
            low, high = (max(0, start - reach), min(spare, start + reach)) if spare > 0 else (-reach, reach)
            start = int(torch.randint(low, high + 1, (), generator=random))
        kept = wave[:, max(0, start) : max(0, start + length)]
        if self.config.normalise:
            kept = (kept - kept.mean()) / (kept.var(correction=0) + FAINTEST).sqrt()
        before = min(length, max(0, -start))
        return F.pad(kept, (before, length - before - kept.shape[1]))


def _samples(samples: Any, rate: Any) -> tuple[Tensor, int]:
    """Returns an array (T,) or (T, C), or a tensor (T,) or (C, T), as float32 (C, T) with its rate."""
    if not isinstance(samples, (np.ndarray, Tensor)) or not isinstance(rate, Integral) or rate < 1:
        raise MediaError(
            f"({type(samples).__name__}, {rate!r}) are not samples with their rate.",
            "An array or tensor, and a whole number of Hz, were expected.",
        )
    tensor = samples if isinstance(samples, Tensor) else torch.from_numpy(np.array(samples).T)
    tensor = tensor[None] if tensor.ndim == 1 else tensor
    if tensor.ndim != 2:
        raise MediaError(f"The samples given have the shape {tuple(samples.shape)}.", "One clip was expected.")
    if tensor.is_floating_point():
        return tensor.float(), int(rate)
    if tensor.dtype not in (torch.int16, torch.int32):
        raise MediaError(f"The samples given are {tensor.dtype}.", "int16, int32 or floats were expected.")
    return tensor.float() / -float(torch.iinfo(tensor.dtype).min), int(rate)


@lru_cache(maxsize=16)
def _resampler(rate: int, wanted: int) -> Resample:
    return Resample(rate, wanted)
