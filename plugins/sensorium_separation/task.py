"""The task: two people speak at once, and the face of each says which part of the sound is theirs.

A. Ephrat et al., Looking to Listen at the Cocktail Party, SIGGRAPH 2018.

Shapes: B mixtures, N = 2 speakers, S samples, F bins, T frames of a spectrogram.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from sensorium import Batch, Encoder, Exported, Modality, Plain, Rows, Split, Task, UserError
from sensorium.builtin.modalities.audio import Audio
from sensorium.ops.spectra import TINY, Spectra, frames
from sensorium_separation.masks import darkness
from sensorium_separation.measures import Separated, metrics, rows
from sensorium_separation.network import AudioStream, Joining, Joint, Listening, VisualStream, Watching, in_step
from sensorium_separation.report import examples, plots

LETTERS = ("a", "b")


class Separation(Task):
    """Two voices apart, by the faces of who speaks."""

    class Config(Task.Config):
        """The streams, and the spectrogram that they work on."""

        faces: Encoder.Config
        """What sees each frame of a face, the same for both speakers: an encoder of video."""
        visual: VisualStream = VisualStream()
        """The stream of each face; published sizes by default."""
        audio: AudioStream = AudioStream()
        """The stream of the mixture."""
        joint: Joint = Joint()
        """What reads all streams."""
        n_fft: int = 512
        """Samples of the Fourier transform."""
        window: Literal["hann", "hamming"] = "hann"
        """Shape of the window."""
        win_length: int | None = None
        """Samples of the window; None takes n_fft."""
        hop_length: int = 160
        """Samples from one window to the next."""
        power: float = 0.3
        """Power that magnitudes are compressed by."""
        bound: float = 2.0
        """Largest real and imaginary part of a mask."""
        blind: bool = False
        """Whether faces are left out (control: nothing says whose voice is whose)."""

        def __post_init__(self) -> None:
            if not 0 < self.power <= 1 or self.bound <= 0:
                raise ValueError("power lies above 0 and not above 1, bound is above 0.")
            length = self.n_fft if self.win_length is None else self.win_length
            if not 0 < length <= self.n_fft:
                raise ValueError("win_length lies above 0 and not above n_fft.")
            if not 0 < self.hop_length <= length // 2:
                raise ValueError("hop_length is at most half of the window, so that windows overlap.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        names = ["mixture", *(f"{kind}_{letter}" for kind in ("voice", "face") for letter in LETTERS)]
        missing = [name for name in names if name not in modalities]
        if missing:
            raise UserError(
                f"Separation reads the field {missing[0]!r}, which has no modality.",
                f"Fields: {', '.join(modalities)}.",
                "Add it to `modalities`.",
            )
        mixture = modalities["mixture"]
        if not isinstance(mixture, Audio) or mixture.form != "waveform" or mixture.shape[1] is None:
            raise UserError(
                "The mixture is not a waveform of one length.",
                "Separation works on clips of a length that is known.",
                "Set `view: waveform` and `seconds` of the modality.",
            )
        if mixture.shape[0] != 1:
            raise UserError(
                f"The mixture has {mixture.shape[0]} channels.", "One was expected.", "Set `channels: 1` of the sounds."
            )
        voices: list[Any] = [modalities[f"voice_{letter}"] for letter in LETTERS]
        if any(read(voice) != read(mixture) for voice in voices):
            raise UserError("The voices are not read as the mixture is.", "They must lie in step.", "Set them alike.")
        if modalities["face_a"].shape != modalities["face_b"].shape:
            raise UserError("The faces are not read alike.", "Both speakers share one stream.", "Set them alike.")
        for letter in LETTERS:
            seconds = getattr(modalities[f"face_{letter}"].config, "seconds", None)
            if seconds != mixture.config.seconds:
                raise UserError(
                    f"face_{letter} shows {seconds} seconds of the mixture's {mixture.config.seconds}.",
                    "Sound and film must lie in step.",
                    f"Set modalities.face_{letter}.seconds={mixture.config.seconds}.",
                )
        self.spectra = Spectra(config.n_fft, config.hop_length, config.power, config.window, config.win_length)
        self.faces: Encoder = config.faces.build(modalities["face_a"])
        self.watching = Watching(config.visual, self.faces.dim)
        self.listening = Listening(config.audio)
        width = self.listening.last * self.spectra.bins + 2 * config.visual.channels
        self.joining = Joining(config.joint, width, 2, self.spectra.bins, config.bound)
        options = {
            "view": "spectrogram",
            "n_fft": config.n_fft,
            "hop_length": config.hop_length,
            "window": config.window,
        }
        shown = Audio(Audio.Config(sample_rate=mixture.config.sample_rate, seconds=mixture.config.seconds, **options))  # type: ignore[arg-type]
        self.shown = shown.view
        self.inputs = {name: modalities[name] for name in ("mixture", "face_a", "face_b")}
        self.outputs = {
            **{f"voice_{letter}": mixture for letter in LETTERS},
            **{f"spectrogram_{letter}": shown for letter in LETTERS},
        }

    # ---- training ----------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns `mixture` (B, F, T) and `voices` (B, N, F, T), compressed spectrograms at unit level."""
        return self._separated(batch, LETTERS)

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error of the compressed spectrograms, the mean over bins, (B,)."""
        clean = self.spectra.compressed(self.voices(batch) / self.level(batch)[:, None])
        far = outputs["voices"] - clean
        return {"spectrogram": (far.real.square() + far.imag.square()).mean((1, 2, 3))}

    def level(self, batch: Batch) -> Tensor:
        """Returns the root mean square of each mixture, (B, 1)."""
        wave: Tensor = batch["mixture"].data[:, 0]
        return wave.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6)

    def voices(self, batch: Batch) -> Tensor:
        """Returns the clean voices, (B, N, S)."""
        return torch.stack([batch[f"voice_{letter}"].data[:, 0] for letter in LETTERS], 1)

    def _separated(self, batch: Batch, order: tuple[str, ...]) -> dict[str, Tensor]:
        """Returns what `forward` does, with the faces in an order of speakers."""
        wave = batch["mixture"].data[:, 0] / self.level(batch)
        mixture = self.spectra.compressed(wave)
        seen = [self._watched(batch[f"face_{letter}"], wave.shape[1]) for letter in order]
        masks = self.joining(torch.cat([self.listening(mixture), *seen], 2))
        return {"mixture": mixture, "voices": masks * mixture[:, None]}

    def _watched(self, face: Any, samples: int) -> Tensor:
        seen: Tensor = self.watching(self.faces(face).tokens, samples, self.config.hop_length)
        return torch.zeros_like(seen) * seen if self.config.blind else seen

    def sounds(self, outputs: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Returns the voices as sounds at the mixture's level, (B, N, S)."""
        wave: Tensor = batch["mixture"].data
        return self.spectra.sound(outputs["voices"], wave.shape[2]) * self.level(batch)[:, None]

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns the ratios of each mixture, with its own faces, with the faces exchanged and without a network."""
        wave = batch["mixture"].data[:, 0]
        mixture = self.spectra.compressed(wave / self.level(batch))[:, None]
        phase = mixture / mixture.abs().clamp(min=TINY)
        each = (
            outputs["voices"],
            self._separated(batch, LETTERS[::-1])["voices"],
            outputs["voices"].abs() * phase,
        )
        dark = torch.stack([darkness(batch[f"face_{letter}"].data) for letter in LETTERS], 1)
        return rows(
            Separated(*(self.sounds({"voices": voices}, batch) for voices in each)),
            self.voices(batch),
            wave,
            in_step(dark, wave.shape[1], self.config.hop_length),
            self.spectra,
            self.config.bound,
            self.inputs["mixture"].config.sample_rate,  # type: ignore[attr-defined]
        )

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns means over the split, in dB where the name does not say otherwise."""
        return metrics(rows) | super().metrics(rows)

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns the spectrograms of one mixture, of what was made of it, and of the truth."""
        return {**super().plots(rows, split), **plots(rows, self.spectra)}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns how well the first mixture was separated, and who spoke."""
        return examples(rows, split)

    # ---- use ---------------------------------------------------------------------------------

    def exported(self) -> dict[str, Exported]:
        """Returns the masks; spectrograms are complex, which ONNX does not know."""
        samples, options = int(self.inputs["mixture"].shape[1] or 0), self.config

        def masks(batch: Batch) -> dict[str, Tensor]:
            seen = [self._watched(batch[f"face_{letter}"], samples) for letter in LETTERS]
            return {"masks": self.joining.parts(torch.cat([self.listening.heard(batch["spectrogram"]), *seen], 2))}

        size = (2, self.spectra.bins, frames(samples, options.hop_length))
        heard = Plain(
            f"Real and imaginary part of the mixture's spectrogram: of {samples} samples, divided by their root mean"
            f" square, torch.stft(n_fft={options.n_fft}, hop_length={options.hop_length},"
            f" win_length={self.spectra.win_length}) with a {options.window} window, over silence at the end where that"
            f" makes {size[2]} frames; each number x is taken as x |x|^({options.power} - 1).",
            ("batch", "parts", "bins", "frames"),
            torch.randn(size, generator=torch.Generator().manual_seed(0)),
        )
        made = Plain(
            "Real and imaginary part of each speaker's mask. Its complex product y with the spectrogram, taken back as"
            f" y |y|^(1 / {options.power} - 1), by torch.istft and times the root mean square, is the voice.",
            ("batch", "speakers", "parts", "bins", "frames"),
        )
        faces = {f"face_{letter}": self.inputs[f"face_{letter}"] for letter in LETTERS}
        about = "Which part of a sound is whose, by the faces of two who speak at once."
        return {"model": Exported(about, masks, {"spectrogram": heard, **faces}, {"masks": made})}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the voices (B, 1, S) and their power spectrograms (B, 1, F, T)."""
        sounds = self.sounds(self(batch), batch)
        answer = {f"voice_{letter}": sounds[:, number, None] for number, letter in enumerate(LETTERS)}
        shown = self.shown.to(sounds.device)
        return answer | {f"spectrogram_{letter}": shown(answer[f"voice_{letter}"]) for letter in LETTERS}


def read(sound: Audio) -> tuple[Any, ...]:
    """Returns what sounds must have in common to lie in step."""
    return sound.form, sound.shape, sound.config.sample_rate
