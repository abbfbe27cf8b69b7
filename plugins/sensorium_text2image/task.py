"""The task: GAN-INT-CLS, a generator and a discriminator that read the sentence, and a judge of what was drawn.

Reed, Akata, Yan, Logeswaran, Schiele, Lee, "Generative Adversarial Text to Image Synthesis", ICML 2016.

Shapes: B samples, C channels of a picture, H rows, W columns, S channels of the sentence, Z of the code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Modality, Objective, Rows, Split, Stage, Task, UserError, workers
from sensorium.builtin.judging import judged, verdict
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.number import Number
from sensorium_text2image import report
from sensorium_text2image.networks import Discriminator, Generator

PENALISED = 0.25
"""Share of the samples that the gradient penalty looks at in a step."""
TWICE = 0.25
"""Share of the sentences that the generator draws twice in a step, to keep the two pictures apart."""


class TextToImage(Task):
    """Pictures of a sentence, another one for each seed."""

    optional = frozenset({"seed"})

    class Config(Task.Config):
        """The parts, the sizes, and what the two objectives are made of."""

        clip: Task.Config
        """Task that brings sentences and pictures into one space, trained first or by its `weights`: `clip`."""
        judge: Task.Config | None = None
        """Task that says what a picture shows, trained first or by its `weights`: `recognition`."""
        image: str = "image"
        """Field of the pictures."""
        sentence: str = "caption"
        """Field of the sentences."""
        code: int = 32
        """Z, normal numbers that tell apart the pictures of one sentence."""
        short: int = 32
        """Channels that the sentence is reduced to in either network."""
        width: int = 32
        """Channels at the picture's full size in either network."""
        blind: bool = False
        """Hides the sentence from the discriminator: a control, which draws anything."""
        mismatched: bool = True
        """Whether the discriminator learns from real pictures with wrong sentences (CLS, algorithm 1)."""
        interpolated: float = 0.5
        """Share of the generator's sentences that lie somewhere between two (INT, equation 5)."""
        penalty: float = 1.0
        """Weight of half the squared gradient at real pictures (R1, Mescheder et al. 2018)."""
        seeking: float = 0.02
        """Weight of the term that keeps apart pictures of one sentence (Mao et al. 2019, equation 2)."""

        def __post_init__(self) -> None:
            if min(self.code, self.short, self.width) < 1:
                raise ValueError("code, short and width are at least 1.")
            if not 0 <= self.interpolated <= 1 or min(self.penalty, self.seeking) < 0:
                raise ValueError("interpolated lies between 0 and 1; penalty and seeking are not negative.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        image, sentence = modalities.get(config.image), modalities.get(config.sentence)
        if not isinstance(image, Image) or sentence is None:
            raise UserError(
                "The fields do not fit.",
                f"A picture {config.image!r} and a text {config.sentence!r} were expected.",
                "Name them in model.image and model.sentence.",
            )
        if not image.symmetric:
            raise UserError("Real pixels do not lie between -1 and 1.", "Drawn ones do.", "Leave out `mean` and `std`.")
        self.clip: Task = config.clip.build(modalities)
        if config.sentence not in self.clip.embeddings:
            raise UserError("model.clip embeds no sentences.", f"It embeds {', '.join(self.clip.embeddings)}.")
        size = self.clip.outputs[self.clip.embeddings[config.sentence]].shape[0]
        assert size is not None
        self.generator = Generator(size, config.code, config.short, config.width, image.config.channels, image.size)
        self.discriminator = Discriminator(size, config.short, config.width, image.config.channels, image.size)
        self.judge: Task | None = None if config.judge is None else config.judge.build(modalities)
        seed = Number(Number.Config(least=0, whole=True))
        self.inputs = self.apart("inputs", {config.sentence: sentence}, {"seed": seed})
        self.outputs = {config.image: image}

    def stages(self) -> Sequence[Stage]:
        """Returns the inner tasks' stages, then the two objectives that are played against one another."""
        earlier = self.earlier("clip", *(["judge"] if self.judge is not None else []))
        discriminate = Objective("discriminator", ["discriminator"], self.drawn, self.discriminate)
        generate = Objective("generator", ["generator"], self.read, self.deceive)
        return [*earlier, Stage("gan", [discriminate, generate])]

    # ---- training ----------------------------------------------------------------------------

    @torch.no_grad()
    def read(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the sentences (B, S) of the text encoder, which is not trained here."""
        name = self.config.sentence
        found: Tensor = self.clip(replace(batch, fields={name: batch[name]}))[name]
        return {"sentence": found}

    @torch.no_grad()
    def drawn(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the sentences (B, S) and a picture drawn of each (B, C, H, W)."""
        sentence = self.read(batch)["sentence"]
        return {"sentence": sentence, "picture": self.generator(sentence, batch.normal("code", self.config.code))}

    forward = drawn

    def discriminate(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns what the discriminator minimises: three kinds of pairs, each picture seen once (algorithm 1)."""
        real, sentence = batch[self.config.image], outputs["sentence"]
        seen, drawn = self.discriminator.look(torch.cat([real, outputs["picture"]])).chunk(2)
        wrong = self.shown(workers.mismatched(sentence, batch))
        shown = self.shown(sentence)
        scores = self.discriminator.compare(torch.cat([seen, seen, drawn]), torch.cat([shown, wrong, shown]))
        right, mismatched, fake = scores.chunk(3)
        terms = {"right": F.softplus(-right), "fake": F.softplus(fake)}
        if self.config.mismatched:
            terms = {"right": terms["right"], "wrong": F.softplus(mismatched) / 2, "fake": terms["fake"] / 2}
        if self.config.penalty:
            terms["penalty"] = self.config.penalty / 2 * self._slope(real, sentence, batch)
        return terms

    def _slope(self, real: Tensor, sentence: Tensor, batch: Batch) -> Tensor:
        """Returns the mean squared gradient of the score by the picture, over a share of the samples."""
        chosen = batch.chosen("penalised", PENALISED)
        with torch.enable_grad():
            picture = real[chosen].requires_grad_()
            scores = self.score(picture, sentence[chosen])
            slope: Tensor = torch.autograd.grad(scores.sum(), picture, create_graph=True)[0]
        penalty: Tensor = workers.mean_over(slope.square().flatten(1).sum(1), batch)
        return penalty

    def deceive(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns what the generator minimises: pictures are real, and a second one of a sentence is another."""
        sentence = outputs["sentence"]
        share = batch.uniform("share", 1) * (batch.uniform("interpolated", 1) < self.config.interpolated)
        between = sentence.lerp(workers.mismatched(sentence, batch), share.to(sentence))
        code, other = (batch.normal(name, self.config.code) for name in ("one", "other"))
        chosen = batch.chosen("twice", TWICE)
        pictures = self.generator(torch.cat([between, between[chosen]]), torch.cat([code, other[chosen]]))
        first, second = pictures[: len(between)], pictures[len(between) :]
        terms = {"real": F.softplus(-self.score(first, between))}
        if self.config.seeking:
            apart = seeking(first[chosen], second, code[chosen], other[chosen])
            terms["seeking"] = self.config.seeking * workers.mean_over(apart, batch)
        return terms

    def score(self, picture: Tensor, sentence: Tensor) -> Tensor:
        """Returns the logits (B,) of pictures being real and of their sentences."""
        logit: Tensor = self.discriminator(picture, self.shown(sentence))
        return logit

    def shown(self, sentence: Tensor) -> Tensor:
        """Returns the sentences (B, S) as the discriminator gets them."""
        return torch.zeros_like(sentence) if self.config.blind else sentence

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns pictures drawn and real, scores of right and wrong sentences, and what the judge sees."""
        real, sentence, drawn = batch[self.config.image], outputs["sentence"], outputs["picture"]
        second = self.generator(sentence, batch.normal("other", self.config.code))
        rows: Rows = {
            "drawn": drawn,
            "real": real,
            "sentence": [str(sample[self.config.sentence]) for sample in batch.samples],
            "apart": (drawn - second).abs().flatten(1).mean(1),
            "right": self.score(real, sentence),
            "wrong": self.score(real, workers.mismatched(sentence, batch)),
        }
        if self.judge is not None:
            for kind, picture in (("judge", drawn), ("ceiling", real)):
                rows |= judged(self.judge, batch, self.config.image, picture, kind)
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns `judge_*` and `ceiling_*`, shares of 1, and `match_auc`; `metrics` add to them."""
        return {**super().metrics(rows), **report.metrics(rows)}

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a sheet of sentences, pictures drawn of each, and real ones."""
        drawn = report.drawn(rows, self.outputs[self.config.image])
        return {**super().plots(rows, split), "drawn.png": drawn}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns what the judge says of the first picture."""
        found = verdict(rows)
        return [f"{rows['sentence'][0]!r} was drawn; the judge finds {found}."] if found else []

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns a picture of each sentence (B, C, H, W)."""
        return {self.config.image: self.drawn(batch)["picture"]}


def seeking(one: Tensor, other: Tensor, code: Tensor, second: Tensor) -> Tensor:
    """Returns how much further apart codes lie than their pictures, (B,) (Mao et al., CVPR 2019, equation 2).

    Args:
        one: Pictures (B, C, H, W).
        other: Pictures of the same sentences.
        code: Codes (B, Z) of the first.
        second: Codes of the others.
    """
    pictures, codes = (F.l1_loss(a, b, reduction="none").flatten(1).mean(1) for a, b in ((one, other), (code, second)))
    return codes / (pictures + 1e-5)
