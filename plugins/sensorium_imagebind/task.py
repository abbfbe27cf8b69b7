"""The task: pictures and sentences in one space, which is then frozen; every other modality is bound to pictures.

R. Girdhar, A. El-Nouby, Z. Liu, M. Singh, K. V. Alwala, A. Joulin, I. Misra, ImageBind: One Embedding Space To Bind
Them All, CVPR 2023.

Shapes: B samples, N samples of a split, S channels of the space, C classes, H and W rows and columns of a map.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Encoder, Features, Modality, NamedModules, Objective, Rows, Split, Stage, Task, UserError
from sensorium.builtin.judging import judged
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.vector import Vector
from sensorium_imagebind import measures, report
from sensorium_imagebind.arm import Arm, Bound, by_itself, seen_of

SCALE = 20.0
"""Factor of cosine similarities in answers."""


class ImageBind(Task):
    """One space for many modalities, of which only pictures met each of the others."""

    class Config(Task.Config):
        """The towers, what is bound to them, and what is asked of the space."""

        anchor: Task.Config
        """Task that brings pictures and sentences into one space, trained first or by its `weights`: `clip`."""
        bound: dict[str, Bound]
        """Field -> how it is bound to pictures; the first one is what is searched and located by."""
        image: str = "image"
        """Field of the pictures."""
        caption: str = "caption"
        """Field of the sentences."""
        source: str = "caption"
        """Source of the dataset that holds pictures with sentences."""
        prompts: dict[str, list[str]] = field(default_factory=dict)
        """Label -> sentences with {} for its name. The first label is told of whatever is given; names of the second
        are added to what is heard, and a picture of both is looked for."""
        weight: float = 0.5
        """Weight of the words in a sum of them and what is heard."""
        scene: str | None = None
        """Field of pictures of several things, one of which is the sample's own, first of its `boxes`."""
        painter: Task.Config | None = None
        """Task by its `weights` that draws pictures of embeddings of this space: `dalle2` with the same anchor."""
        judge: Task.Config | None = None
        """Task by its `weights` that says what pictures show; it looks at what is drawn of what is heard."""

        def __post_init__(self) -> None:
            if not self.bound or {self.image, self.caption} & self.bound.keys():
                raise ValueError("bound names at least one field, and neither the pictures nor the sentences.")
            if len(self.prompts) > 2 or not all(self.prompts.values()):
                raise ValueError("prompts names two labels at most, each with at least one sentence.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        for name in (config.image, config.caption, *config.bound, *([config.scene] if config.scene else [])):
            if name not in modalities:
                raise UserError(
                    f"The field {name!r} has no modality.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`.",
                )
        self.labels = {name: self._label(name) for name in config.prompts}
        self.anchor: Task = config.anchor.build(modalities)
        if not {config.image, config.caption} <= set(self.anchor.embeddings):
            raise UserError("model.anchor does not embed pictures and sentences.", "A `clip` of both was expected.")
        space = self.anchor.outputs[self.anchor.embeddings[config.image]].shape[0]
        assert space is not None
        drawn = config.painter is not None
        arms = {name: Arm(each, modalities[name], space, drawn) for name, each in config.bound.items()}
        self.arms = NamedModules(arms)
        self.painter: Task | None = None if config.painter is None else config.painter.build(modalities)
        if self.painter is not None and (config.painter.weights is None or "embedding" not in self.painter.inputs):  # type: ignore[union-attr]
            raise UserError("model.painter cannot draw.", "A trained task `dalle2` was expected.", "Set its `weights`.")
        self.judge: Task | None = None if config.judge is None else config.judge.build(modalities)
        self.told = next(iter(self.labels), None)
        self.added = next((name for name in self.labels if name != self.told), None)
        self._words: dict[str, Tensor] = {}
        self._type_inputs_and_outputs(space)

    def _label(self, name: str) -> Label:
        label = self.modalities.get(name)
        if not isinstance(label, Label):
            raise UserError(
                f"model.prompts names {name!r}, which is not a label.", f"Fields: {', '.join(self.modalities)}."
            )
        return label

    def _type_inputs_and_outputs(self, space: int) -> None:
        config, modalities = self.config, self.modalities
        embedded = (config.image, config.caption, *config.bound)
        self.inputs = {name: by_itself(modalities[name]) for name in embedded}
        self.embeddings = {name: f"{name}_embedding" for name in embedded}
        own: dict[str, Modality] = {name: Vector(Vector.Config(size=space)) for name in self.embeddings.values()}
        own["joint_embedding"] = Vector(Vector.Config(size=space))
        if config.scene is not None:
            self.inputs = {**self.inputs, config.scene: modalities[config.scene]}
            own["located"] = modalities[config.scene]
        if self.painter is not None:
            own["drawn"] = modalities[config.image]
        told: dict[str, Modality] = {} if self.told is None else {self.told: self.labels[self.told]}
        self.optional = frozenset(self.inputs)
        self.outputs = self.apart("outputs", told, own)

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder of a field."""
        if field not in self.arms:
            return self.anchor.encoder_of(field)
        encoder: Encoder = self.arms[field].encoder  # type: ignore[assignment]
        return encoder

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns the anchor's stages, then one for each modality; none of these changes the anchor."""
        towers = [
            replace(stage, objectives=[replace(each, source=self.config.source) for each in stage.objectives])
            for stage in self.earlier("anchor")
        ]
        names: Mapping[Any, str] = {id(module): name for name, module in self.named_modules()}
        stages = []
        for name, bound in self.config.bound.items():
            forward, losses = partial(self.pairs, name), partial(self.apart_from_others, name)
            objective = Objective(name, [names[id(self.arms[name])]], forward, losses, source=bound.source or name)
            stages.append(Stage(name, [objective]))
        return [*towers, *stages]

    def pairs(self, name: str, batch: Batch) -> dict[str, Tensor]:
        """Returns the embeddings of one modality, and of the pictures that belong to it (B, S)."""
        with torch.no_grad():
            seen = self.anchor(replace(batch, fields={self.config.image: batch[self.config.image]}))[self.config.image]
        return {"bound": self.arms[name](batch[name]), "image": seen}

    def apart_from_others(self, name: str, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the symmetric InfoNCE over the global batch (equation 1), and the error (B,) of what is drawn."""
        arm: Arm = self.arms[name]  # type: ignore[assignment]
        loss = arm.loss(outputs["bound"], outputs["image"], batch.groups.to(outputs["image"].device))
        drawn = {} if self.painter is None else {"seen": arm.seen_losses(outputs["bound"], outputs["image"])}
        return {"pairs": loss, **drawn}

    # ---- evaluation --------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns field -> embeddings (B, S) of unit length, for the fields in the batch."""
        towers = {name: batch[name] for name in (self.config.image, self.config.caption) if name in batch}
        found: dict[str, Tensor] = dict(self.anchor(replace(batch, fields=towers))) if towers else {}
        return found | {name: arm(batch[name]) for name, arm in self.arms.items() if name in batch}

    def words(self, label: str) -> Tensor:
        """Returns one embedding for each name of a label, the mean over its prompts, (C, S) of unit length."""
        if label not in self._words:
            prompts, names = self.config.prompts[label], self.labels[label].names
            texts = [prompt.replace("{}", name) for name in names for prompt in prompts]
            embedded = self(self.batched([{self.config.caption: text} for text in texts]))[self.config.caption]
            self._words[label] = F.normalize(embedded.view(len(names), len(prompts), -1).mean(1), dim=-1)
        return self._words[label]

    def heat(self, batch: Batch, query: Tensor) -> Tensor:
        """Returns how much each place of a scene is like a query (B, S): cosines (B, H, W) of the feature map."""
        assert self.config.scene is not None
        features: Features = self.anchor.encoder_of(self.config.image)(batch[self.config.scene])
        if features.tokens is None or features.grid is None:
            raise UserError("The encoder of pictures has no feature map.", "Tokens on a grid were expected.")
        places = self.anchor.embedding_of(self.config.image, Features(features.tokens.flatten(0, 1)))
        return (places.view(*features.tokens.shape[:2], -1) @ query[..., None]).view(-1, *features.grid)

    def draw(self, embeddings: Mapping[str, Tensor], batch: Batch) -> Tensor:
        """Returns the painter's picture (B, C, H, W) of what has these embeddings, field -> (B, S), of all together."""
        embedding = measures.joined(seen_of(embeddings, self.arms))
        pictures: Tensor = self.painter.predict(replace(batch, fields={"embedding": embedding}))[self.config.image]  # type: ignore[union-attr]
        return pictures

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns embeddings, what words make of each, a sum of what is heard with words, and what was located."""
        first = next(iter(self.arms))
        rows: Rows = {f"embedding.{name}": value for name, value in outputs.items()}
        if self.told is not None and self.told in batch:
            words = self.words(self.told)
            spoken = {name: value for name, value in outputs.items() if name != self.config.caption}
            for name, value in spoken.items():
                rows |= {f"logits.{name}_to_text": value @ words.T, f"target.{name}_to_text": batch[self.told]}
            rows[f"logits.{self.told}"] = SCALE * measures.joined(outputs) @ words.T
            rows |= {f"target.{self.told}": batch[self.told], "target": batch[self.told]}
        if self.added is not None and self.added in batch and first in outputs:
            count = self.labels[self.added].vocabulary
            asked = (batch[self.added].clamp(min=-1) + 1) % count  # never that of the picture
            added = self.words(self.added)[asked]
            rows |= {"property": batch[self.added], "asked": asked, "added": added}
            rows["sum"] = measures.joined({"heard": outputs[first], "words": self.config.weight * added})
        if str(self.config.scene) in batch and first in outputs and "boxes" in batch.samples[0]:
            maps = self.heat(batch, outputs[first])
            chosen = [measures.located(each, sample["boxes"]) for each, sample in zip(maps, batch.samples, strict=True)]
            rows["located_first"] = torch.tensor(chosen) == 0
        if self.judge is not None and self.painter is not None and first in outputs:
            rows |= judged(self.judge, batch, self.config.image, self.draw({first: outputs[first]}, batch), "drawn")
        return rows | {f"key.{name}": measures.keys(batch, name) for name in outputs}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns also what modalities find of one another, what sums find, what is located, and what is drawn."""
        return super().metrics(rows) | measures.across(rows, self.config.image, *self.config.bound)

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns what is found for a few sounds, alone and with words."""
        return {**super().plots(rows, split), **report.plots(self, rows, split)}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns what words say to the first sample of each modality."""
        return report.examples(self, rows)

    # ---- use ---------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> ImageBind:
        """Sets the mode; embeddings of words are computed anew after each change of the weights."""
        self._words = {}
        super().train(mode)
        return self

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the embedding of each thing given and of all together, what they show, and where in a scene.

        Raises:
            UserError: A scene was given, and nothing to look for.
        """
        outputs = self(batch)
        if not outputs:
            raise UserError("There is nothing to look for.", f"One of {', '.join(self.embeddings)} was expected.")
        joint = measures.joined(outputs)
        result: dict[str, Any] = {self.embeddings[name]: value for name, value in outputs.items()}
        result["joint_embedding"] = joint
        if self.told is not None:
            result[self.told] = (SCALE * joint @ self.words(self.told).T).softmax(-1)
        scene = self.config.scene
        if scene is not None and scene in batch:
            result["located"] = report.lit(batch[scene], self.heat(batch, joint))
        if self.painter is not None:
            result["drawn"] = self.draw(outputs, batch)
        return result
