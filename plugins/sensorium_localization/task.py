"""The task: a sound attends to the places of a picture; where it looks is where it comes from.

A. Senocak, T.-H. Oh, J. Kim, M.-H. Yang, I. S. Kweon, Learning to Localize Sound Source in Visual Scenes, CVPR 2018.

Shapes: B samples, N boxes, T = H * W places of the picture's map, D channels, h rows and w columns of a picture.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Evaluation, Loss, Modality, Objective, Padded, Rows, Split, Stage, Task, UserError
from sensorium.builtin.modalities.boxes import Boxes
from sensorium.builtin.modalities.image import Image
from sensorium.ops import boxes as on_maps
from sensorium_localization import measures, report
from sensorium_localization.exported import heat

TRUTH = 40
"""Rows and columns of the map of truth that evaluations compare with."""


@dataclass(frozen=True)
class Looks:
    """Where sounds look.

    Attributes:
        heat: Cosines of the sound and each place, (B, H, W).
        attended: Places by how much they are looked at, of unit length, (B, D).
        heard: The sounds, of unit length, (B, D).
    """

    heat: Tensor
    attended: Tensor
    heard: Tensor


class Localization(Task):
    """Where in a picture a sound comes from. What sees and what hears has learnt to name things before."""

    probe: ClassVar[Mapping[str, Any]] = {  # what knows nothing by name locates nothing
        "training.stages.seeing.epochs": 9,
        "training.stages.hearing.epochs": 3,
        "training.stages.localize.epochs": 4,
        "dataset.sources.labelled.different": 1500,
    }

    class Config(Task.Config):
        """What sees and hears, and what is learnt from."""

        hearing: Task.Config
        """Task whose encoder hears, with weights or trained first: `recognition` of sounds, or `soundnet`."""
        seeing: Task.Config | None = None
        """Task whose encoder sees, with weights or trained first: `recognition` of pictures."""
        eyes: Encoder.Config | None = None
        """What sees, with published weights; either this or `seeing`."""
        loss: Loss.Config
        """A loss over pairs: what is attended by a sound lies near it, and far from other sounds."""
        image: str = "image"
        """Field of the picture."""
        audio: str = "audio"
        """Field of the sound."""
        boxes: str = "boxes"
        """Field of boxes around what sounds. Samples and data without it are learnt from by pairs alone."""
        absent: str | None = None
        """Field of a sound that comes from nowhere in the picture, to be told from the one that does."""
        agree: int = 1
        """Boxes that have to cover a place before it counts fully: one of the world, two of three people's."""
        pairs: float = 1.0
        """Weight of the loss over pairs; 0 learns from boxes alone."""
        supervised: float = 1.0
        """Weight of the loss over boxes; 0 learns from pairs alone."""
        dim: int = 64
        """D."""
        temperature: float = 0.1
        """Divisor of cosines in the attention over places."""
        fine_tune: bool = True
        """Whether what sees and hears is trained along."""
        chosen_on: str = "validation"
        """Split on which the threshold of the map is chosen."""

        def __post_init__(self) -> None:
            if (self.seeing is None) == (self.eyes is None):
                raise ValueError("Name either seeing or eyes.")
            if self.dim < 1 or self.agree < 1 or self.temperature <= 0:
                raise ValueError("dim and agree are at least 1, temperature above 0.")
            if min(self.pairs, self.supervised) < 0 or self.pairs + self.supervised == 0:
                raise ValueError("pairs and supervised are at least 0, and one of them above.")

    config: Config
    threshold: Tensor

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image = modalities[config.image]
        boxes = modalities.get(config.boxes) or Boxes(Boxes.Config(follows=config.image))
        if not isinstance(image, Image) or not isinstance(boxes, Boxes) or boxes.follows != config.image:
            raise UserError(
                f"{config.image!r} is {image.form}, {config.boxes!r} {boxes.form}.",
                "A picture and boxes were expected that follow it.",
                f"Set modalities.{config.boxes}={{name: boxes, follows: {config.image}}}.",
            )
        self.picture = image
        self.hearing: Task = config.hearing.build(modalities)
        if config.seeing is not None:
            self.seeing: Task = config.seeing.build(modalities)
        elif config.eyes is not None:
            self.eyes: Encoder = config.eyes.build(image)
        self.places = nn.Linear(self.encoder_of(config.image).dim, config.dim)
        sound = self.encoder_of(config.audio).dim
        self.sounds = nn.Sequential(nn.Linear(sound, sound), nn.ReLU(), nn.Linear(sound, config.dim))
        self.loss: Loss = config.loss.build()
        if self.loss.form != "pairs":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over pairs was expected.", "Take `infonce`.")
        self.register_buffer("threshold", torch.tensor(0.5))
        seen = report.Located(report.Located.Config(size=image.size, follows=config.image))
        self.inputs = {config.image: image, config.audio: modalities[config.audio]}
        self.outputs = self.apart("outputs", {}, {"located": seen, "box": boxes})

    def encoder_of(self, field: str) -> Encoder:
        """Returns what sees, or what hears."""
        if field == self.config.image:
            return self.eyes if self.config.seeing is None else self.seeing.encoder_of(field)
        return self.hearing.encoder_of(field) if field == self.config.audio else super().encoder_of(field)

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns first what names things, each by itself, then what brings both together."""
        names: Mapping[Any, str] = {id(module): name for name, module in self.named_modules()}
        networks = [names[id(self.encoder_of(field))] for field in (self.config.image, self.config.audio)]
        parts = ["places", "sounds", "loss", *(networks if self.config.fine_tune else [])]
        if not any(self.loss.parameters()):
            parts.remove("loss")
        together = Stage("localize", [Objective("localize", parts, self.forward, self.losses)])
        return [*self.earlier(*(["seeing"] if self.config.seeing is not None else []), "hearing"), together]

    def forward(self, batch: Batch) -> Looks:
        """Returns where the sounds of a batch look in its pictures."""
        return self.look(batch[self.config.image], batch[self.config.audio])

    def look(self, pictures: Any, sounds: Any) -> Looks:
        """Returns where sounds look in pictures (equations 1 to 4).

        Raises:
            UserError: What sees gives no map.
        """
        features = self.encoder_of(self.config.image)(pictures)
        if features.tokens is None or features.grid is None:
            raise UserError("What sees gives no map.", "Tokens on a grid were expected.", "Take `convnet`.")
        places = F.normalize(self.places(features.tokens), dim=-1)  # (B, T, D)
        heard = F.normalize(self.sounds(self.encoder_of(self.config.audio)(sounds).pooled), dim=-1)
        cosines = (places @ heard[..., None]).squeeze(-1)  # (B, T)
        attention = (cosines / self.config.temperature).softmax(1)
        attended = F.normalize((attention[:, None] @ places).squeeze(1), dim=-1)
        return Looks(cosines.unflatten(1, features.grid), attended, heard)

    def losses(self, outputs: Looks, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over pairs, and the cross entropy (B,) of the attention where there are boxes.

        The paper's equations 5 to 8. Where boxes agree the attention is to be even, elsewhere nothing.
        """
        terms = {}
        if self.config.pairs:
            groups = batch.groups.to(outputs.heard.device)
            terms["pairs"] = self.config.pairs * self.loss(outputs.attended, outputs.heard, groups)
        if self.config.supervised and self.config.boxes in batch:
            rows, columns = outputs.heat.shape[1:]
            truth = F.adaptive_avg_pool2d(self.truth(batch)[:, None], (rows, columns)).flatten(1)
            aim = truth / truth.sum(1, keepdim=True).clamp(min=1e-6)
            attention = (outputs.heat.flatten(1) / self.config.temperature).log_softmax(1)
            terms["boxes"] = -self.config.supervised * (aim * attention).sum(1)
        return terms

    def truth(self, batch: Batch, size: tuple[int, int] | None = None) -> Tensor:
        """Returns by how much the boxes of a batch agree on each pixel, from 0 to 1, (B, h, w)."""
        boxes: Padded = batch[self.config.boxes]
        height, width = self.picture.size
        rows, columns = size or (height, width)
        scaled = boxes.data * boxes.data.new_tensor([columns / width, rows / height] * 2)
        covered = on_maps.counts(scaled, boxes.mask, rows, columns)
        return (covered / self.config.agree).clamp(max=1)

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Looks, batch: Batch) -> Rows:
        """Returns the map over the picture, the truth, the boxes of all things, and how the absent sound answers."""
        heat = grown(outputs.heat, (TRUTH, TRUTH))
        rows: Rows = {"heat": heat, "best": heat.flatten(1).amax(1)}
        if self.config.boxes in batch:
            rows["truth"] = self.truth(batch, (TRUTH, TRUTH))
        if "everything" in batch.samples[0]:
            height, width = self.picture.size
            scale = [TRUTH / width, TRUTH / height] * 2
            every = [
                [[edge * by for edge, by in zip(box, scale, strict=True)] for box in sample["everything"]]
                for sample in batch.samples
            ]
            chosen = [on_maps.highest(each, boxes) for each, boxes in zip(heat, every, strict=True)]
            rows["chosen"] = torch.tensor(chosen)
        if str(self.config.absent) in batch:
            nowhere = self.look(batch[self.config.image], batch[str(self.config.absent)])
            rows["absent"] = grown(nowhere.heat, (TRUTH, TRUTH)).flatten(1).amax(1)
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns also what is chosen, pointed at and covered, and the threshold that would be best here."""
        return super().metrics(rows) | measures.located(rows, float(self.threshold))

    def evaluated(self, evaluation: Evaluation) -> None:
        """Takes the threshold that is best on the split it is chosen on."""
        if evaluation.split == self.config.chosen_on and "best_threshold" in evaluation.metrics:
            self.threshold.fill_(evaluation.metrics["best_threshold"])

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a few pictures with the map of what is heard over them."""
        drawn = report.sheet_of(rows, lambda place: self.picture.seen(split[place][self.config.image]))
        return {**super().plots(rows, split), "located.png": drawn}

    # ---- use ---------------------------------------------------------------------------------

    def exported(self) -> dict[str, Any]:
        """Returns the map; picture and box are drawn of it, by loops over its pixels."""
        return {"model": heat(self, lambda batch: grown(self(batch).heat, self.picture.size))}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the picture with the map over it, and the box around its highest place; none below the threshold."""
        looks, pictures = self(batch), batch[self.config.image]
        heat = grown(looks.heat, pictures.shape[2:])
        found = [on_maps.around_highest(each, float(self.threshold)) for each in heat]
        boxes = torch.tensor([box or [0.0, 0.0, 0.0, 0.0] for box in found], device=heat.device)[:, None]
        mask = torch.tensor([box is not None for box in found], device=heat.device)[:, None]
        box = Padded(boxes, mask)
        plain = pictures * self.picture.std.to(pictures) + self.picture.mean.to(pictures)
        return {"located": report.overlaid(plain, heat, box), "box": box}


def grown(heat: Tensor, size: Sequence[int]) -> Tensor:
    """Returns maps (B, H, W) at another size."""
    return F.interpolate(heat[:, None].float(), tuple(size), mode="bilinear", align_corners=False)[:, 0]
