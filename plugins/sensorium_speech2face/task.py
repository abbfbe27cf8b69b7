"""The task: a voice becomes the feature of a face, and a feature becomes a face.

T.-H. Oh, T. Dekel, C. Kim, I. Mosseri, W. T. Freeman, M. Rubinstein, W. Matusik, Speech2Face: Learning the Face
Behind a Voice, CVPR 2019.

Shapes: B samples, S samples of sound, F bins, D channels of a face's feature, A attributes, C channels of a picture,
H = W its side, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Features, Modality, Objective, Rows, Split, Stage, Task, UserError, workers
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.number import Number
from sensorium.builtin.modalities.vector import Vector
from sensorium_speech2face import measures, report
from sensorium_speech2face.decoder import FaceDecoder
from sensorium_speech2face.linear import LeastSquares, mean_spectrum

WINDOW = 256
"""Samples of a window of the mean spectrum, which the linear map hears."""


class Speech2Face(Task):
    """The face behind a voice: drawn, and found among many."""

    probe: ClassVar[dict[str, Any]] = {"dataset.known": 60}  # in a few steps few faces can be told apart

    class Config(Task.Config):
        """The parts, what they read, and how the losses are weighed; the paper's weights by default."""

        face: Task.Config
        """Task that tells people by their faces, with weights or trained first: `recognition`."""
        voice: Encoder.Config
        """What hears, an encoder of waveforms: `voice`."""
        decoder: FaceDecoder.Config = field(default_factory=FaceDecoder.Config)
        """What draws a face."""
        audio: str = "audio"
        """Field of the voice."""
        image: str = "image"
        """Field of the photograph."""
        passport: str | None = None
        """Field of the picture that is drawn of somebody, from the front and evenly lit; None draws the photograph."""
        attributes: list[str] = field(default_factory=list)
        """Fields of numbers that say something of a face; how far a drawn face agrees with them is measured."""
        likeness: float = 1.0
        """Weight of the cosine between the features of a face and of what the decoder draws of it."""
        normalised: float = 0.025
        """Weight of the distance between features of unit length."""
        distilled: float = 200.0
        """Weight of the cross entropy between what features say of who it is."""
        temperature: float = 2.0
        """What logits are divided by in it."""
        told: bool = False
        """Whether a face is found by what voices tell of it, a linear map of its feature, rather than all of that."""
        gallery: int = 60
        """Faces among which one is found in an evaluation."""

        def __post_init__(self) -> None:
            if min(self.likeness, self.normalised, self.distilled) < 0 or self.temperature <= 0 or self.gallery < 2:
                raise ValueError("Weights are at least 0, temperature is above 0, gallery is at least 2.")

    config: Config
    mean: Tensor

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image, shown = modalities.get(config.image), modalities.get(config.passport or config.image)
        if not isinstance(image, Image) or not isinstance(shown, Image) or image.shape != shown.shape:
            raise UserError(
                f"{config.image!r} and {config.passport or config.image!r} are not pictures of one size.",
                "What is drawn is looked at by what looks at photographs.",
                "Set their modalities alike.",
            )
        audio = modalities.get(config.audio)
        if not isinstance(audio, Audio) or audio.form != "waveform":
            raise UserError(
                f"{config.audio!r} is not a waveform.", hint=f"Set modalities.{config.audio}.view=waveform."
            )
        if wrong := [name for name in config.attributes if not isinstance(modalities.get(name), Number)]:
            raise UserError(f"The attribute {wrong[0]!r} is not a number.", f"Set modalities.{wrong[0]}=number.")
        self.face: Task = config.face.build(modalities)
        eyes = self.face.encoder_of(config.image)
        self.voice: Encoder = config.voice.build(audio)
        self.join = nn.Linear(self.voice.dim, eyes.dim)
        self.decoder = FaceDecoder(config.decoder, eyes.dim, shown)
        self.reader = LeastSquares(eyes.dim, len(config.attributes), 1e-3)
        self.linear = LeastSquares(WINDOW // 2 + 1, eyes.dim, 0.1)
        self.told = LeastSquares(eyes.dim, eyes.dim, 0.01) if config.told else nn.Identity()
        self.register_buffer("mean", torch.zeros(eyes.dim + 1))
        self.inputs = {config.audio: audio, config.image: image}
        self.optional = frozenset(self.inputs)
        self.embeddings = {name: f"{name}_embedding" for name in self.inputs}
        self.outputs = {"face": shown, **dict.fromkeys(self.embeddings.values(), Vector(Vector.Config(size=eyes.dim)))}

    def encoder_of(self, field: str) -> Encoder:
        """Returns what hears, or what sees."""
        return self.voice if field == self.config.audio else self.face.encoder_of(field)

    def embedding_of(self, field: str, features: Features) -> Tensor:
        """Returns features of a voice or a face as they are compared, (B, D) of unit length."""
        heard = field == self.config.audio
        return self.compared({field: self.join(features.pooled) if heard else features.pooled})[field]

    def compared(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Returns field -> features (B, D) as they are compared, of unit length."""
        told = {name: self.told(each) if name == self.config.image else each for name, each in outputs.items()}
        return {name: F.normalize(each, dim=1) for name, each in told.items()}

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns what tells people by their faces, what draws a face of its feature, and last what hears."""
        decoder = Objective("decoder", ["decoder"], self.drawn_again, self.decoder_losses)
        voice = Objective("voice", ["voice", "join"], self.forward, self.losses)
        return [*self.earlier("face"), Stage("decoder", [decoder]), Stage("voice", [voice], self.prepare)]

    def see(self, picture: Tensor) -> Tensor:
        """Returns the features (B, D) of pictures (B, C, H, W)."""
        pooled: Tensor = self.face.encoder_of(self.config.image)(picture).pooled
        return pooled

    def hear(self, sound: Any) -> Tensor:
        """Returns the features (B, D) that the faces behind voices may have."""
        felt: Tensor = self.join(self.voice(sound).pooled)
        return felt

    def shown(self, batch: Batch) -> Tensor:
        """Returns the pictures that are to be drawn, (B, C, H, W)."""
        picture: Tensor = batch[self.config.passport or self.config.image]
        return picture

    def drawn_again(self, batch: Batch) -> dict[str, Tensor]:
        """Returns features of photographs (B, D), and what is drawn of them (B, C, H, W)."""
        with torch.no_grad():
            face = self.see(batch[self.config.image])
        return {"face": face, "drawn": self.decoder(face)}

    def decoder_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the mean distance of pixels, and one minus the cosine of the features, of each face (B,)."""
        drawn = outputs["drawn"]
        terms = {"pixels": (drawn - self.shown(batch)).abs().mean((1, 2, 3))}
        if self.config.likeness:
            like = F.cosine_similarity(self.see(drawn), outputs["face"], dim=1)
            terms["likeness"] = self.config.likeness * (1 - like)
        return terms

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Learns the mean face, the linear map from spectra to faces, and the one that reads attributes of faces."""
        total = torch.zeros_like(self.mean)
        self.linear.begin()
        self.reader.begin()
        for batch in batches:
            face = self.see(batch[self.config.image])
            total += F.pad(face, (0, 1), value=1.0).sum(0)
            self.linear.see(mean_spectrum(batch[self.config.audio], WINDOW), face)
            self.reader.see(self.see(self.shown(batch)), self.attributes(batch))
        self.mean.copy_((total := workers.add(total)) / total[-1])
        self.linear.fit(self.told if isinstance(self.told, LeastSquares) else None)
        self.reader.fit()

    def attributes(self, batch: Batch) -> Tensor:
        """Returns the attributes (B, A)."""
        values = [batch[name] for name in self.config.attributes]
        return torch.stack(values, 1) if values else torch.zeros(len(batch), 0, device=batch.device)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns field -> features (B, D), of the voice and of the face, as far as they are given."""
        found = {}
        if self.config.audio in batch:
            found[self.config.audio] = self.hear(batch[self.config.audio])
        if self.config.image in batch:
            with torch.no_grad():
                found[self.config.image] = self.see(batch[self.config.image])
        return found

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns how far the voice's feature is from the face's, three times (B,) (equations 1 and 2)."""
        heard, seen = outputs[self.config.audio], outputs[self.config.image]
        far = F.normalize(heard, dim=1) - F.normalize(seen, dim=1)
        terms = {
            "first": (self.decoder.first(heard) - self.decoder.first(seen)).abs().sum(1),
            "normalised": self.config.normalised * far.square().sum(1),
        }
        if self.config.distilled:
            said, told = (self.face.logits_of(self.config.image, Features(each)) for each in (heard, seen))
            pairs = [(said[name] / self.config.temperature, told[name] / self.config.temperature) for name in said]
            terms["distilled"] = self.config.distilled * sum(
                (-(right.softmax(1) * mine.log_softmax(1)).sum(1) for mine, right in pairs), torch.zeros(())
            )
        return terms

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns features, drawn faces, how far they are off, and what is read of them, with what needs no network."""
        heard, seen, shown = outputs[self.config.audio], outputs[self.config.image], self.shown(batch)
        kinds = {
            "voice": heard,
            "linear": self.linear(mean_spectrum(batch[self.config.audio], WINDOW)),
            "mean": self.mean[:-1].expand_as(seen),
            "face": seen,
        }
        drawn = {kind: self.decoder(feature) for kind, feature in kinds.items()}
        rows: Rows = {"face": drawn["voice"]}
        rows |= {f"embedding.{name}": each for name, each in self.compared(outputs).items()}
        rows |= {f"feature.{kind}": F.normalize(feature, dim=1) for kind, feature in kinds.items()}
        rows["feature.told"] = rows[f"embedding.{self.config.image}"]
        off = self.decoder.image.std.to(shown)
        rows |= {f"error.{kind}": ((each - shown) * off).abs().mean((1, 2, 3)) for kind, each in drawn.items()}
        read, real = (self.reader(self.see(picture)) for picture in (drawn["voice"], shown))
        for what, each in (("true", self.attributes(batch)), ("r", read), ("real_r", real)):
            rows |= {f"{what}.{name}": each[:, column] for column, name in enumerate(self.config.attributes)}
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns also how often the face is found, and how far drawn faces agree with the real ones."""
        return super().metrics(rows) | measures.agreement(rows, self.config.attributes, self.config.gallery)

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a few voices with the faces that are drawn, those behind them, and those that are found."""
        return {**super().plots(rows, split), "faces.png": report.faces(rows, split, self)}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns at which place the first face is found."""
        place, among = int(measures.places(rows, "voice", self.config.gallery)[0]), min(len(split), self.config.gallery)
        return [f"{rows['id'][0]}: by the voice, the face comes {place}. of {among}."]

    # ---- use ---------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the face behind a voice, or else the one of a photograph, and the features of what is given.

        Raises:
            UserError: Neither is.
        """
        outputs = self(batch)
        if not outputs:
            raise UserError("There is nothing to draw.", f"{' or '.join(self.inputs)} was expected.")
        found = {self.embeddings[name]: each for name, each in self.compared(outputs).items()}
        return {"face": self.decoder(next(iter(outputs.values()))), **found}
