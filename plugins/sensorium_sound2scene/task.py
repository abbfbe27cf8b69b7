"""The task: a sound becomes the embedding of the picture that goes with it, of which a picture is drawn.

K. Sung-Bin, A. Senocak, H. Ha, A. Owens, T.-H. Oh, Sound to Visual Scene Generation by Audio-to-Visual Latent
Alignment, CVPR 2023.

Shapes: B samples, S channels of the embeddings' space, C channels of a picture, H rows, W columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Loss, Modality, Objective, Padded, Rows, Split, Stage, Task, UserError
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.number import Number
from sensorium_sound2scene import measures, report
from sensorium_sound2scene.level import Level
from sensorium_sound2scene.selection import chosen, localized
from sensorium_sound2scene.variations import Variations

STEP = 9.0
"""By how much a sound is made quieter and louder in evaluation, in dB."""


class Sound2Scene(Task):
    """Draws what it hears. What sees and what draws is frozen; what hears learns where pictures lie."""

    probe: ClassVar[Mapping[str, Any]] = {"evaluation.split": "test"}

    class Config(Task.Config):
        """What draws, what hears, and what is learnt from."""

        painter: Task.Config
        """Task that embeds pictures and draws of embeddings, trained first or by its `weights`: `variations`."""
        ears: Encoder.Config
        """What hears."""
        loss: Loss.Config
        """A loss over pairs of what is heard and what is seen: `distance_infonce`."""
        moments: int | None = None
        """How many moments of each training video are chosen, those that correlate best; None learns from all."""
        selection: Task.Config | None = None
        """Task that says how much a sound has to do with a picture, trained first or by its `weights`: `localization`.
        None asks ears that have learnt from all moments before (the stage `scout`)."""
        judge: Task.Config | None = None
        """Task that says what a picture shows, trained first or by its `weights`: `recognition`."""
        image: str = "image"
        """Field of the pictures."""
        audio: str = "audio"
        """Field of the sounds."""

        def __post_init__(self) -> None:
            if self.moments is not None and self.moments < 1:
                raise ValueError("moments is at least 1.")
            if self.moments is None and self.selection is not None:
                raise ValueError("selection chooses moments: say how many of each video.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        audio = modalities[config.audio]
        options = audio.config if isinstance(audio, Audio) else None
        if options is None or options.view != "log_mel" or options.standardise or options.seconds is None:
            raise UserError(
                f"How loud {config.audio!r} is cannot be told.",
                "Sounds of one length were expected, as levels in dB: they are mixed and made louder.",
                f"Set modalities.{config.audio}={{name: audio, seconds: 1.0, standardise: false}}.",
            )
        self.level = Level(options.mean, options.std)
        painter = config.painter.build(modalities)
        if not isinstance(painter, Variations) or painter.config.image != config.image:
            raise UserError(f"model.painter does not draw {config.image!r}.", "A task `variations` was expected.")
        self.painter: Variations = painter
        self.ears = Ears(config.ears, audio, painter.space)
        if config.moments is not None and config.selection is None:
            self.scout = Ears(config.ears, audio, painter.space)
        self.loss: Loss = config.loss.build()
        if self.loss.form != "pairs":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over pairs was expected.")
        self.selection: Task | None = None if config.selection is None else config.selection.build(modalities)
        self.judge: Task | None = None if config.judge is None else config.judge.build(modalities)
        own = {"other": audio, "gain": Number(Number.Config(least=-60, most=60))}
        own["seed"] = Number(Number.Config(least=0, whole=True))
        self.inputs = self.apart("inputs", {config.audio: audio}, own)
        self.optional = frozenset(own)
        self.outputs = {config.image: modalities[config.image]}

    def encoder_of(self, field: str) -> Encoder:
        """Returns what hears."""
        return self.ears.encoder if field == self.config.audio else super().encoder_of(field)

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns those of what sees, draws, chooses and judges; then what hears learns alone."""
        inner = [name for name in ("painter", "selection", "judge") if getattr(self, name) is not None]
        learnt = ["loss"] if any(self.loss.parameters()) else []
        hear = Objective("hear", ["ears", *learnt], self.forward, self.losses)
        scout = Objective("scout", ["scout", *learnt], partial(self.meet, "scout"), self.losses)
        return [
            *self.earlier(*inner),
            *([Stage("scout", [scout])] if hasattr(self, "scout") else []),
            Stage("hear", [hear], None if self.config.moments is None else self.choose),
        ]

    def choose(self, batches: Iterable[Batch]) -> list[str]:
        """Returns the ids of the moments in which what is seen is heard, of this worker's."""
        assert self.config.moments is not None
        return chosen(self.correlation, self.config.moments, batches)

    def correlation(self, batch: Batch) -> Tensor:
        """Returns how much the sounds of a batch have to do with its pictures, (B,)."""
        if self.selection is not None:
            return localized(self.selection, batch)
        met = self.meet("scout", batch)
        return (met["heard"] * met["seen"]).sum(1)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns what is heard and what is seen, in the space of what is seen: (B, S) of unit length each."""
        return self.meet("ears", batch)

    def meet(self, ears: str, batch: Batch) -> dict[str, Tensor]:
        """Returns what some ears hear and what is seen, (B, S) of unit length each."""
        heard: Tensor = self.get_submodule(ears)(batch[self.config.audio])
        return {"heard": heard, "seen": self.painter.embed(batch)}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over pairs (equation 2); moments of one video belong together."""
        groups = batch.groups.to(outputs["heard"].device)
        return {"pairs": self.loss(outputs["heard"], outputs["seen"], groups)}

    # ---- evaluation --------------------------------------------------------------------------

    @torch.no_grad()
    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns embeddings, pictures drawn of a sound as it is, quieter, and louder, and what they show."""
        image, sound = self.config.image, batch[self.config.audio]
        heard = {"drawn": outputs["heard"]}
        heard |= {
            name: self.ears(self.level.amplified(sound, by)) for name, by in (("quieter", -STEP), ("louder", STEP))
        }
        made = {name: self.painter.draw(each, batch) for name, each in heard.items()}
        rows: Rows = {"embedding.audio": outputs["heard"], "embedding.image": outputs["seen"], **made}
        rows |= {f"key.{name}": batch.ids for name in ("audio", "image")} | {"real": batch[image]}
        if self.judge is not None:
            made["variation"] = self.painter.draw(outputs["seen"], batch)
            for kind in ("drawn", "variation"):
                rows |= measures.looked_at(self.judge, batch, image, made[kind], kind)
            rows |= measures.looked_at(self.judge, batch, image, batch[image], "real")
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns what the judge finds, how like real pictures drawn ones are, and whether louder is larger."""
        return super().metrics(rows) | measures.measured(rows)

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a few sounds with what is drawn of them."""
        audio = self.modalities[self.config.audio]

        def sound(place: int) -> bytes:
            value: bytes = audio.encode(audio.transform(audio.decode(split[place][self.config.audio]), None))
            return value

        drawn = report.heard(rows, self.outputs[self.config.image], sound, lambda place: _named(split[place]))
        return {**super().plots(rows, split), "drawn.png": drawn}

    # ---- use ---------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns a picture (B, C, H, W) of a sound, perhaps of `other` at the same time, made louder by `gain` dB."""
        sound: Padded = batch[self.config.audio]
        if "other" in batch:
            sound = self.level.together(sound, batch["other"])
        if "gain" in batch:
            sound = self.level.amplified(sound, batch["gain"].view(-1, 1, 1, 1))
        return {self.config.image: self.painter.draw(self.ears(sound), batch)}


class Ears(nn.Module):
    """An encoder of sounds, and a linear map into the space of what is seen.

    Args:
        encoder: What hears.
        audio: What it reads.
        space: S.
    """

    def __init__(self, encoder: Encoder.Config, audio: Modality, space: int) -> None:
        super().__init__()
        self.encoder: Encoder = encoder.build(audio)
        self.head = nn.Sequential(nn.LayerNorm(self.encoder.dim), nn.Linear(self.encoder.dim, space))

    def forward(self, sound: Padded) -> Tensor:
        """Returns where the pictures of sounds are to lie, (B, S) of unit length."""
        return F.normalize(self.head(self.encoder(sound).pooled), dim=-1)


def _named(sample: Mapping[str, Any]) -> str:
    """Returns what a sample shows, in words, where it says so."""
    things = sample.get("things", sample.get("label", sample["id"]))
    return things if isinstance(things, str) else " and ".join(things)
