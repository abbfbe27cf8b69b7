"""The task: a sentence becomes the embedding of a picture, and an embedding becomes pictures.

Ramesh, Dhariwal, Nichol, Chu, Chen, "Hierarchical Text-Conditional Image Generation with CLIP Latents", 2022.

Shapes: B samples, T tokens, S channels of CLIP's space, C channels of a picture, H rows, W columns.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from functools import reduce
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Exported, Modality, Objective, Rows, Split, Stage, Task, UserError
from sensorium.builtin.judging import judged
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.number import Number
from sensorium.builtin.modalities.vector import Vector
from sensorium.builtin.painting import Sampler, UNet, denoiser, steered, velocities, velocity_error
from sensorium.ops.diffusion import Diffusion
from sensorium_dalle2 import report
from sensorium_dalle2.linear import LeastSquares
from sensorium_dalle2.prior import Prior, Sentence
from sensorium_dalle2.sampling import closest, slerp


class Dalle2(Task):
    """Pictures of a sentence, like a picture, or between two."""

    class Config(Task.Config):
        """The parts, their sizes, and how samples are drawn."""

        clip: Task.Config
        """Task that brings sentences and pictures into one space, trained first or by its `weights`: `clip`."""
        judge: Task.Config | None = None
        """Task that says what a picture shows, trained first or by its `weights`: `recognition`."""
        image: str = "image"
        """Field of the pictures."""
        sentence: str = "caption"
        """Field of the sentences."""
        steps: int = 100
        """Steps from a clean value to noise, of the prior and of the decoder."""
        ancestral: bool = False
        """Draws by DDPM, with fresh noise at each step, rather than by DDIM."""
        dropped: float = 0.1
        """Share of the samples from which a condition is withheld in training."""
        prior: Prior.Config = field(default_factory=Prior.Config)
        """From sentences to embeddings of pictures."""
        decoder: UNet.Config = field(default_factory=UNet.Config)
        """From embeddings to pictures."""

        def __post_init__(self) -> None:
            if self.steps < 1 or not 0 <= self.dropped < 1:
                raise ValueError("steps is at least 1; dropped lies in [0, 1).")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image, sentence = modalities.get(config.image), modalities.get(config.sentence)
        if not isinstance(image, Image) or sentence is None or sentence.shape[0] is None:
            raise UserError(
                "The fields do not fit.",
                f"A picture {config.image!r} and a text {config.sentence!r} were expected.",
                "Name them in model.image and model.sentence.",
            )
        if not image.symmetric:
            raise UserError("Real pixels do not lie between -1 and 1.", "Drawn ones do.", "Leave out `mean` and `std`.")
        self.clip: Task = config.clip.build(modalities)
        if not {config.image, config.sentence} <= set(self.clip.embeddings):
            raise UserError("model.clip does not embed both fields.", f"It embeds {', '.join(self.clip.embeddings)}.")
        space = self.clip.outputs[self.clip.embeddings[config.image]].shape[0]
        assert space is not None
        self.space, self.scale = space, math.sqrt(space)  # brings rows of unit length to the variance of the noise
        self.diffusion = Diffusion(config.steps)
        self.sampler = Sampler(self.diffusion, config.ancestral)
        self.linear = LeastSquares(space)
        reader = self.clip.encoder_of(config.sentence)
        self.prior = Prior(config.prior, reader.dim, space, sentence.shape[0], config.steps)
        self.decoder = UNet(config.decoder, image.config.channels, space, config.steps)
        self.judge: Task | None = None if config.judge is None else config.judge.build(modalities)
        share, seed = Number(Number.Config(least=0, most=1)), Number(Number.Config(least=0, whole=True))
        own = {"other": image, "embedding": Vector(Vector.Config(size=space)), "share": share, "seed": seed}
        self.inputs = self.apart("inputs", {config.sentence: sentence, config.image: image}, own)
        self.optional = frozenset(self.inputs)
        self.outputs = {config.image: image}

    def stages(self) -> Sequence[Stage]:
        """Returns the inner tasks' stages, the prior's and the decoder's; these two do not depend on one another."""
        return [
            *self.earlier("clip", *(["judge"] if self.judge is not None else [])),
            Stage("prior", [Objective("prior", ["prior"], self.embedded, self.prior_losses)], self.prepare),
            Stage("decoder", [Objective("decoder", ["decoder"], self.seen, self.decoder_losses)]),
        ]

    # ---- training ----------------------------------------------------------------------------

    @torch.no_grad()
    def embed(self, batch: Batch, name: str, value: Any = None) -> Tensor:
        """Returns CLIP's embedding (B, S) of a field, or of another value for it; channels have variance 1."""
        value = batch[name] if value is None else value
        found: Tensor = self.clip(replace(batch, fields={name: value}))[name]
        return found * self.scale

    @torch.no_grad()
    def read(self, batch: Batch) -> Sentence:
        """Returns what CLIP makes of the sentences."""
        name = self.config.sentence
        return Sentence(self.clip.encoder_of(name)(batch[name]), self.embed(batch, name))

    def prepare(self, batches: Iterable[Batch]) -> None:
        """Fits the linear map from the sentences' embeddings to those of their pictures."""
        sentence, image = self.config.sentence, self.config.image
        self.linear.fit((self.embed(batch, sentence), self.embed(batch, image)) for batch in batches)

    def found(self, noised: Tensor, time: Tensor, sentence: Sentence, known: Tensor) -> Tensor:
        """Returns the clean embedding (B, S) behind noise.

        The prior's answer is the middle of a normal distribution with the covariance that the linear map leaves
        open, so that it begins where no network is needed (as T. Karras et al. 2022, section 5, precondition theirs).
        """
        return self.linear.posterior(self.diffusion, noised, time, self.prior(noised, time, sentence, known))

    def embedded(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the embeddings of the pictures, and what the prior finds of them behind noise (B, S)."""
        clean = self.embed(batch, self.config.image)
        time = self.diffusion.times(batch.uniform("time"))
        noised = self.diffusion.noised(clean, time, batch.normal("noise", clean.shape[1]))
        return {"clean": clean, "found": self.found(noised, time, self.read(batch), self._told(batch))}

    def prior_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error of the embedding (B,) (equation 2)."""
        return {"embedding": F.mse_loss(outputs["found"], outputs["clean"], reduction="none").mean(1)}

    def seen(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the velocity of noised pictures, and what the decoder finds of it (B, C, H, W)."""
        image = self.config.image
        return velocities(
            self.decoder, self.diffusion, batch[image], self.embed(batch, image), self._told(batch), batch
        )

    def decoder_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the squared error of the velocity (B,) (Salimans and Ho 2022, appendix D)."""
        return {"velocity": velocity_error(outputs)}

    def _told(self, batch: Batch) -> Tensor:
        return batch.uniform("told") >= self.config.dropped

    # ---- drawing -----------------------------------------------------------------------------

    def imagine(self, sentence: Sentence, batch: Batch) -> Tensor:
        """Returns the embedding of a picture of each sentence (B, S), the closest to it of some that are drawn."""

        def denoise(value: Tensor, time: Tensor) -> Tensor:
            return steered(self.found, self.config.prior.guidance, value, time, sentence)

        def drawn(turn: int) -> Tensor:
            return self.sampler(denoise, batch, f"prior {turn}", (self.space,), self.config.prior.sampled)

        some = torch.stack([drawn(turn) for turn in range(self.config.prior.candidates)], 1)
        return F.normalize(closest(some, sentence.embedding), dim=1) * self.scale

    def draw(self, embedding: Tensor, batch: Batch, name: str) -> Tensor:
        """Returns a picture (B, C, H, W) of each embedding (B, S); another one for another name."""
        denoise = denoiser(self.decoder, self.diffusion, self.config.decoder.guidance, embedding)
        return self.sampler(denoise, batch, name, self.outputs[self.config.image].shape, self.config.decoder.sampled)

    # ---- evaluation and use --------------------------------------------------------------------

    @torch.no_grad()
    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the embeddings of a sentence and of its picture, and what prior and linear map make of it (B, S)."""
        sentence = self.read(batch)
        return {
            "sentence": sentence.embedding,
            "image": self.embed(batch, self.config.image),
            "imagined": self.imagine(sentence, batch),
            "expected": self.linear(sentence.embedding),
        }

    @torch.no_grad()
    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns embeddings, pictures by sentence, variations of a picture, and what the judge sees."""
        made = {
            "drawn": self.draw(outputs["imagined"], batch, "decoder"),
            "variation": self.draw(outputs["image"], batch, "variation"),
            "second": self.draw(outputs["image"], batch, "second variation"),
            "real": batch[self.config.image],
        }
        names = {"real": "image", "text": "sentence", "prior": "imagined", "linear": "expected"}
        rows: Rows = {
            **made,
            **{f"embedding.{kind}": outputs[name] for kind, name in names.items()},
            "sentence": [str(sample[self.config.sentence]) for sample in batch.samples],
            "apart": (made["variation"] - made["second"]).abs().flatten(1).mean(1),
        }
        if self.judge is not None:
            for kind, name in (("judge", "drawn"), ("variation", "variation"), ("ceiling", "real")):
                rows |= judged(self.judge, batch, self.config.image, made[name], kind)
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the judge's shares, and how like real ones embeddings and pictures are; `metrics` add to them."""
        return {**super().metrics(rows), **report.metrics(rows)}

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a sheet of sentences with pictures drawn of them, and one of variations."""
        return {**super().plots(rows, split), **report.sheets(rows, self.outputs[self.config.image])}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns how close the first picture lies to its sentence, and to what the prior makes of it."""
        prior, text = (float(report.cosines(rows, name)[0]) for name in ("prior", "text"))
        return [f"{rows['sentence'][0]!r}: cosine {text:.3f} with its picture, {prior:.3f} by way of the prior."]

    def exported(self) -> dict[str, Exported]:
        """Returns a picture of a sentence, one like a picture, and one of an embedding."""
        return {name: self.predicting(name) for name in (self.config.sentence, self.config.image, "embedding")}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns a picture (B, C, H, W): of a sentence, a picture or an embedding in CLIP's space, or between two.

        Several are mixed one after another, in the order of sentence, picture, other, embedding: each time `share`
        of the way is gone from what there is to what comes.

        Raises:
            UserError: Nothing was given, or a share of one thing alone.
        """
        sentence, image = self.config.sentence, self.config.image
        sources = [self.imagine(self.read(batch), batch)] if sentence in batch else []
        sources += [self.embed(batch, image, batch[name]) for name in (image, "other") if name in batch]
        sources += [F.normalize(batch["embedding"], dim=1) * self.scale] if "embedding" in batch else []
        if not sources or ("share" in batch and len(sources) < 2):
            raise UserError(
                "There is nothing to draw." if not sources else "There is nothing to share with.",
                f"{sentence}, {image}, other or embedding were expected; two of them with a share between 0 and 1.",
            )
        share = batch["share"] if "share" in batch else torch.full((len(batch),), 0.5, device=batch.device)
        embedding = reduce(lambda one, other: slerp(one, other, share), sources)
        return {image: self.draw(embedding, batch, "decoder")}
