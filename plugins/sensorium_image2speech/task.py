"""The task: a picture is told aloud. Speech becomes units, a picture becomes units, units become speech.

W.-N. Hsu, D. Harwath, C. Song, J. Glass, Text-Free Image-to-Speech Synthesis Using Learned Segmental Units, ACL 2021.

Shapes: B samples, S samples of a sound, M mel bands, T frames, U steps, L units, D channels, P places of a picture.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import (
    Batch,
    Decoder,
    Encoder,
    Features,
    Loss,
    Modality,
    Objective,
    Padded,
    Rows,
    Split,
    Stage,
    Task,
    UserError,
)
from sensorium.builtin.decoders.words import WordDecoder
from sensorium.builtin.judging import judged
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.number import Number
from sensorium_image2speech import measures, report
from sensorium_image2speech.exported import units
from sensorium_image2speech.spectrum import Mel, Spectrum
from sensorium_image2speech.tacotron import Tacotron
from sensorium_image2speech.units import STEP, Hearing, Units, as_units, as_words, lengthened, within
from sensorium_image2speech.voice import Voice, computed


class Image2Speech(Task):
    """Says aloud what a picture shows. No text, and no label, comes between."""

    probe: ClassVar[Mapping[str, Any]] = {"dataset.sources.pairs.who": "voice"}  # one voice is learnt sooner

    class Config(Task.Config):
        """The parts, their sizes, and how units are drawn."""

        encoder: Encoder.Config
        """What sees, as places on a grid."""
        decoder: Decoder.Config
        """What says units one after another: that of Show, Attend and Tell, `attention_lstm`."""
        loss: Loss.Config
        """A loss over pairs: a picture lies near what is said of it, and far from what is said of others."""
        judge: Task.Config | None = None
        """Task that says what a sound is, trained first or by its `weights`: `recognition` of the field `audio`."""
        image: str = "image"
        """Field of the pictures."""
        audio: str = "audio"
        """Field of the speech: of those pictures, and of the voice that is to speak."""
        spectrum: Spectrum = Spectrum()
        """How sounds are cut into frames and bands."""
        hearing: Hearing.Config = field(default_factory=Hearing.Config)
        """From speech to units."""
        voice: Voice.Config = field(default_factory=Voice.Config)
        """From units to speech, with lengths that are learnt."""
        tacotron: Tacotron.Config | None = None
        """From units to speech by Tacotron 2, in place of `voice`."""
        space: int = 64
        """Channels of the space in which pictures and speech are compared."""
        seconds: float = 1.0
        """Longest speech; what is longer is cut."""
        fine_tune: bool = True
        """Whether what sees is trained along when units are learnt from pictures."""
        temperature: float = 0.5
        """Divisor of the logits when units are drawn; 0 searches for the likeliest ones."""
        beam: int = 3
        """Rows of units that are followed at a time where the likeliest ones are searched for."""

        def __post_init__(self) -> None:
            if self.space < 1 or self.beam < 1 or self.seconds <= 0 or self.temperature < 0:
                raise ValueError("space and beam are at least 1, seconds is above 0, temperature at least 0.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image, audio = modalities.get(config.image), modalities.get(config.audio)
        if not isinstance(image, Image) or not isinstance(audio, Audio) or audio.form != "waveform":
            raise UserError(
                "The fields do not fit.",
                f"A picture {config.image!r} and a waveform {config.audio!r} were expected.",
                f"Set modalities.{config.audio}={{name: audio, view: waveform}}, or model.image and model.audio.",
            )
        if audio.shape[0] != 1:
            raise UserError(f"{config.audio!r} has {audio.shape[0]} channels.", "One was expected.", "Set channels: 1.")
        self.image, self.audio, rate = image, audio, audio.config.sample_rate
        self.longest = int(config.seconds * rate / config.spectrum.hop_length) // STEP
        if self.longest < 1:
            raise UserError(f"{config.seconds} s hold no step.", f"A step is {STEP} frames.", "Raise model.seconds.")
        self.seeing: Encoder = config.encoder.build(image)
        self.hearing = Hearing(config.hearing, Mel(config.spectrum, rate), self.longest, config.space)
        # Without the first layer all cosines begin at 1, and most of a short training passes until they differ.
        self.match = nn.Sequential(nn.BatchNorm1d(self.seeing.dim), nn.Linear(self.seeing.dim, config.space))
        self.loss: Loss = config.loss.build()
        if self.loss.form != "pairs":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over pairs was expected.", "Take `infonce`.")
        self.units = Units(Units.Config(units=config.hearing.units, longest=self.longest))
        self.decoder: WordDecoder = config.decoder.build(self.seeing.dim, self.units)
        if not isinstance(self.decoder, WordDecoder):
            raise UserError("model.decoder says no words.", "One of words was expected.", "Take `attention_lstm`.")
        sizes = (config.hearing.units, config.spectrum.n_mels, self.longest)
        self.voice = Voice(config.voice, *sizes) if config.tacotron is None else Tacotron(config.tacotron, *sizes)
        self.judge: Task | None = None if config.judge is None else config.judge.build(modalities)
        seed = Number(Number.Config(least=0, whole=True))
        self.inputs, self.optional = self.apart("inputs", {config.image: image}, {"seed": seed}), frozenset({"seed"})
        shown = Audio(Audio.Config(sample_rate=rate, n_mels=config.spectrum.n_mels))
        self.outputs = {"speech": audio, "spectrogram": shown, "units": self.units}

    def encoder_of(self, field: str) -> Encoder:
        """Returns what sees, for another task."""
        return self.seeing if field == self.config.image else super().encoder_of(field)

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns what learns to hear, to tell pictures in units, and to speak units; and the judge, apart from all."""
        hears = ["seeing", "match", "hearing", *(["loss"] if any(True for _ in self.loss.parameters()) else [])]
        tells = ["decoder", *(["seeing"] if self.config.fine_tune else [])]
        return [
            Stage("hearing", [Objective("hearing", hears, self.matched, self.matching_losses)]),
            Stage("telling", [Objective("telling", tells, self.told, computed)], self.prepare),
            Stage("speaking", [Objective("speaking", ["voice"], self.spoken, computed)]),
            *self.earlier(*([] if self.judge is None else ["judge"])),
        ]

    def matched(self, batch: Batch) -> dict[str, Tensor]:
        """Returns pictures and speech in one space, (B, D) each, of unit length."""
        seen = self.match(self.seeing(batch[self.config.image]).pooled)
        heard = self.hearing.embed(batch[self.config.audio])
        return {"image": F.normalize(seen, dim=1), "audio": F.normalize(heard, dim=1)}

    def matching_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over pairs of the global batch."""
        return {"pairs": self.loss(outputs["image"], outputs["audio"], batch.groups.to(batch.device))}

    def look(self, batch: Batch) -> Features:
        """Returns the places of the pictures (B, P, D), to each of which the whole picture's features are added.

        Raises:
            UserError: The encoder gives no places.
        """
        features: Features = self.seeing(batch[self.config.image])
        if features.tokens is None:
            raise UserError("model.encoder gives no places to look at.", "A map was expected.", "Take `convnet`.")
        return replace(features, tokens=features.tokens + self.match[0](features.pooled)[:, None])

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learns the codebook from what is heard."""
        audio = self.config.audio
        self.hearing.learn((batch[audio], batch.uniform("codebook", self.longest)) for batch in batches)

    def told(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the cross entropy (B,) of the units that are said of each picture, the mean over them and the end."""
        words = as_words(self.hearing.units(batch[self.config.audio]).units)
        logits = self.decoder.teacher_force(self.look(batch), words).logits.float()
        aim, mask = words.data[:, 1:], words.mask[:, 1:]
        each = F.cross_entropy(logits.transpose(1, 2), aim, reduction="none")
        return {"units": (each * mask).sum(1) / mask.sum(1)}

    def spoken(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the losses (B,) of the voice."""
        sounds = batch[self.config.audio]
        said = self.hearing.units(sounds)
        losses: dict[str, Tensor] = self.voice(said, within(self.hearing.spectrogram(sounds), said))
        return losses

    # ---- speaking ----------------------------------------------------------------------------

    @torch.no_grad()
    def say(self, batch: Batch, turn: str = "units") -> Tensor:
        """Returns words of units (B, L) for the pictures; others for another turn, where they are drawn."""
        features = self.look(batch)
        if not self.config.temperature:
            words = self.decoder.generate(features, self.config.beam, length_power=0.7).words
        else:
            words = self.decoder.draw(features, batch.uniform(turn, self.longest + 1), self.config.temperature).words
        return lengthened(words, self.longest + 1)

    @torch.no_grad()
    def forward(self, batch: Batch) -> dict[str, Any]:
        """Returns `words` of units (B, L) that are said of the pictures, and their spectrogram `mel` (B, M, T)."""
        words = self.say(batch)
        return {"words": words, "mel": self.voice.speak(as_units(words))}

    def exported(self) -> dict[str, Any]:
        """Returns what is said, in units."""
        return {"model": units(self)}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the speech (B, 1, S), its log-mel spectrogram (B, 1, M, T) and its units (B, L)."""
        words, mel = self(batch).values()
        shown = Padded(mel.data[:, None], mel.mask)
        return {"speech": self.hearing.mel.sound(mel), "spectrogram": shown, "units": words}

    # ---- evaluation --------------------------------------------------------------------------

    @torch.no_grad()
    def rows(self, outputs: Mapping[str, Any], batch: Batch) -> Rows:
        """Returns what was said, what is said another time, the units of what people say, and what the judge hears.

        Sounds are judged as anybody else gets them: as WAV files, which are read again.
        """
        config, own = self.config, self.hearing.units(batch[self.config.audio])
        sound = self.hearing.mel.sound(outputs["mel"])
        rows: Rows = {
            "mel": outputs["mel"].data,
            "wave": sound.data[:, 0],
            "said": measures.lists(as_units(outputs["words"])),
            "other": measures.lists(as_units(self.say(batch, "again"))),
            "true": measures.lists(own.units),
            **measures.named(batch),
        }
        if self.judge is not None:
            again = self.hearing.mel.sound(self.voice.speak(own.units))
            made, again = (measures.read_again(self.audio, each) for each in (sound, again))
            for kind, each in zip(measures.KINDS, (made, again, batch[config.audio]), strict=True):
                rows |= judged(self.judge, batch, config.audio, each, kind)
            rows["heard"] = measures.heard(self.judge, batch, config.audio, made)
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the shares that the judge understands, what the units tell, and how often two utterances differ."""
        return super().metrics(rows) | measures.found(rows)

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a few pictures with how they are told."""
        image, rate = self.config.image, self.audio.config.sample_rate
        told = report.sheet_of(rows, lambda place: self.image.seen(split[place][image]), rate)
        return {**super().plots(rows, split), "told.png": told}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns the units that are said of the first picture, and of its own speech."""
        said, true = (" ".join(map(str, rows[name][0])) for name in ("said", "true"))
        return [f"{rows['id'][0]}: told in the units {said}; somebody says {true}."]
