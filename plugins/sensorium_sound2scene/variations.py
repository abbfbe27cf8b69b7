"""The task: pictures like a picture. What a frozen network sees of a picture is all that they are drawn of.

The generator of K. Sung-Bin et al. 2023, section 3.2, trained on pictures alone, as a diffusion model.

Shapes: B samples, C channels of a picture, H rows, W columns, S channels of the embeddings' space.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Exported, Modality, Objective, Rows, Split, Stage, Task, UserError
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.number import Number
from sensorium.builtin.modalities.vector import Vector
from sensorium.builtin.painting import Sampler, UNet, denoiser, velocities, velocity_error
from sensorium.ops.diffusion import Diffusion
from sensorium_sound2scene import report


class Variations(Task):
    """Pictures of embeddings, another one for each seed."""

    experiment = "variations.yaml"

    class Config(Task.Config):
        """What sees, and what draws."""

        eyes: Task.Config
        """Task that embeds pictures, trained first or by its `weights`: `simclr`, or `clip`."""
        image: str = "image"
        """Field of the pictures."""
        steps: int = 100
        """Steps from a clean picture to noise."""
        ancestral: bool = False
        """Draws by DDPM, with fresh noise at each step, rather than by DDIM."""
        dropped: float = 0.1
        """Share of the samples from which the embedding is withheld in training."""
        blur: float = 0.0
        """Length of the random vector that is added to an embedding in training, which has the length 1."""
        decoder: UNet.Config = field(default_factory=UNet.Config)
        """From embeddings to pictures."""

        def __post_init__(self) -> None:
            if self.steps < 1 or not 0 <= self.dropped < 1 or self.blur < 0:
                raise ValueError("steps is at least 1, dropped lies in [0, 1), blur is at least 0.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image = modalities[config.image]
        if not isinstance(image, Image) or not image.symmetric:
            raise UserError(
                f"{config.image!r} cannot be drawn.",
                "Pictures whose pixels lie between -1 and 1 were expected.",
                "Leave out `mean` and `std`.",
            )
        self.eyes: Task = config.eyes.build(modalities)
        if config.image not in self.eyes.embeddings:
            raise UserError(f"model.eyes does not embed {config.image!r}.", "It sees nothing.", "Take `simclr`.")
        space = self.eyes.outputs[self.eyes.embeddings[config.image]].shape[0]
        assert space is not None
        self.space, self.scale = space, math.sqrt(space)  # brings rows of unit length to the variance of the noise
        self.diffusion = Diffusion(config.steps)
        self.sampler = Sampler(self.diffusion, config.ancestral)
        self.decoder = UNet(config.decoder, image.config.channels, space, config.steps)
        own = {"embedding": Vector(Vector.Config(size=space)), "seed": Number(Number.Config(least=0, whole=True))}
        self.inputs = self.apart("inputs", {config.image: image}, own)
        self.optional = frozenset(self.inputs)
        self.outputs = {config.image: image}

    def stages(self) -> Sequence[Stage]:
        """Returns first what sees, which is frozen then."""
        learn = Objective("decoder", ["decoder"], self.forward, self.losses)
        return [*self.earlier("eyes"), Stage("decoder", [learn])]

    @torch.no_grad()
    def embed(self, batch: Batch) -> Tensor:
        """Returns what is seen of pictures, (B, S) of unit length."""
        name = self.config.image
        seen: Tensor = self.eyes(replace(batch, fields={name: batch[name]}))[name]
        return seen

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the velocity of noised pictures, and what the decoder finds of it (B, C, H, W)."""
        known = batch.uniform("told") >= self.config.dropped
        blur = self.config.blur / self.scale * batch.normal("blur", self.space)
        embedding = self.scale * F.normalize(self.embed(batch) + blur, dim=1)
        return velocities(self.decoder, self.diffusion, batch[self.config.image], embedding, known, batch)

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error of the velocity (B,)."""
        return {"velocity": velocity_error(outputs)}

    @torch.no_grad()
    def draw(self, embedding: Tensor, batch: Batch, name: str = "picture") -> Tensor:
        """Returns a picture (B, C, H, W) of each embedding (B, S) of unit length; another one for another name."""
        config = self.config.decoder
        denoise = denoiser(self.decoder, self.diffusion, config.guidance, self.scale * embedding)
        return self.sampler(denoise, batch, name, self.outputs[self.config.image].shape, config.sampled)

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns pictures, two drawn like each, how far these lie apart, and how well each is seen again."""
        embedding, name = self.embed(batch), self.config.image
        drawn, second = (self.draw(embedding, batch, each) for each in ("picture", "second picture"))
        again = self.embed(replace(batch, fields={name: drawn}))
        return {
            "real": batch[name],
            "drawn": drawn,
            "second": second,
            "apart": (drawn - second).abs().flatten(1).mean(1),
            "cosine": (again * embedding).sum(1),
            "velocity": velocity_error(outputs),
        }

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns also the velocity's error, and how like its picture a drawn one is to what sees (cosine)."""
        own = {name: float(rows[name].double().mean()) for name in ("velocity", "cosine")}
        return super().metrics(rows) | own

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns pictures, and below each two that are drawn like it."""
        return {**super().plots(rows, split), "variations.png": report.like(rows, self.outputs[self.config.image])}

    def exported(self) -> dict[str, Exported]:
        """Returns a picture like a picture, and one of an embedding."""
        return {name: self.predicting(name) for name in (self.config.image, "embedding")}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns a picture (B, C, H, W) of an embedding where one is given, else like a picture.

        Raises:
            UserError: Neither was given.
        """
        name = self.config.image
        if name not in batch and "embedding" not in batch:
            raise UserError("There is nothing to draw.", f"Either {name} or embedding was expected.")
        embedding = F.normalize(batch["embedding"], dim=1) if "embedding" in batch else self.embed(batch)
        return {name: self.draw(embedding, batch)}
