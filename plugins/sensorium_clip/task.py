"""The task: two encoders, a common space, a loss over pairs; recognition and search without training.

Shapes: B samples, N samples of a split, D channels of the space, C classes, P prompts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Batch, Encoder, Features, Fusion, Loss, Modality, NamedModules, Rows, Split, Task, UserError
from sensorium.builtin.losses.infonce import InfoNCE
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.vector import Vector
from sensorium_clip.encoders import ClipTower
from sensorium_clip.published import Published
from sensorium_clip.report import examples, plots


class Clip(Task):
    """Two modalities in one space, for search and recognition."""

    class Config(Task.Config):
        """The parts, and how classes are put into words."""

        encoders: dict[str, Encoder.Config]
        """Field -> its encoder, for the two fields that make a pair."""
        fusion: Fusion.Config
        """What brings both into one space."""
        loss: Loss.Config
        """A loss over pairs."""
        prompts: list[str] = field(default_factory=lambda: ["{}"])
        """Templates that put a class name into words, with {} for the name; their embeddings are averaged."""
        tags: list[str] = field(default_factory=list)
        """Words that a prediction scores each sample by."""

        def __post_init__(self) -> None:
            if len(self.encoders) != 2:
                raise ValueError(f"encoders must name two fields, not {len(self.encoders)}")

    config: Config
    steady = True

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        for name in config.encoders:
            if name not in modalities:
                raise UserError(
                    f"model.encoders names the field {name!r}, which has no modality.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`.",
                )
        self.fields = tuple(config.encoders)
        encoders = {name: encoder.build(modalities[name]) for name, encoder in config.encoders.items()}
        self.encoders = NamedModules(encoders)
        self.fusion: Fusion = config.fusion.build({name: encoder.dim for name, encoder in encoders.items()})
        self.loss: Loss = config.loss.build()
        if set(self.fusion.dims) != set(self.fields):
            raise UserError("model.fusion mixes the fields.", "CLIP needs an embedding of each.", "Take `projection`.")
        if self.loss.form != "pairs":
            raise UserError(f"model.loss takes {self.loss.form}.", "CLIP needs a loss over pairs.", "Take `infonce`.")
        self._words: dict[tuple[str, ...], Tensor] = {}
        self._type_inputs_and_outputs()

    def _type_inputs_and_outputs(self) -> None:
        inputs = {name: self.modalities[name] for name in self.fields}
        dim = next(iter(self.fusion.dims.values()))
        self.embeddings = {name: f"{name}_embedding" for name in self.fields}
        own: dict[str, Modality] = {name: Vector(Vector.Config(size=dim)) for name in self.embeddings.values()}
        told: dict[str, Modality] = {}
        self.language: str | None = next((n for n in self.fields if isinstance(self.modalities[n], Text)), None)
        self.seen = next((n for n in self.fields if n != self.language), self.fields[0])
        labels = {name: modality for name, modality in self.modalities.items() if isinstance(modality, Label)}
        self.label = next(iter(labels), "")
        self.classes, self.tags = labels.get(self.label), _names(self.config.tags)
        if self.language is not None:
            words = self.modalities[self.language]
            inputs = self.apart("inputs", inputs, {"plus": words, "minus": words})
            if self.classes is not None:
                told[self.label] = self.classes
            if self.tags is not None:
                own["tags"] = self.tags
        self.inputs, self.outputs = inputs, self.apart("outputs", told, own)
        self.optional = frozenset(inputs)

    @torch.no_grad()
    def initialise(self) -> None:
        """Takes the temperature of the weights that both encoders start from, if the experiment leaves it as it is."""
        starts = [each.config.weights for each in self.encoders.values() if isinstance(each, ClipTower)]
        loss, start = self.loss, starts[0] if len(starts) == 2 and starts[0] == starts[1] else None
        if start and isinstance(loss, InfoNCE) and loss.config.temperature == InfoNCE.Config().temperature:
            loss.log_scale.copy_(Published(start).scale())

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder of one of both fields."""
        if field not in self.fields:
            return super().encoder_of(field)
        encoder: Encoder = self.encoders[field]  # type: ignore[assignment]
        return encoder

    def embedding_of(self, field: str, features: Features) -> Tensor:
        """Returns features of one of both fields in the common space, (B, D) of unit length."""
        if field not in self.fields:
            return super().embedding_of(field, features)
        joint: dict[str, Features] = self.fusion({field: features})
        return joint[field].pooled

    # ---- training ----------------------------------------------------------------------------

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns field -> embeddings (B, D) of unit length, for the pair's fields in the batch."""
        features = {name: self.encoders[name](batch[name]) for name in self.fields if name in batch}
        return {name: joint.pooled for name, joint in self.fusion(features).items()}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over the pairs of the global batch."""
        first, second = (outputs[name] for name in self.fields)
        return {"pairs": self.loss(first, second, batch.groups.to(first.device))}

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns embeddings with their keys, and similarities to the classes where there are any."""
        rows: Rows = {f"embedding.{name}": embedding for name, embedding in outputs.items()}
        rows |= {f"key.{name}": [_key(sample, name) for sample in batch.samples] for name in outputs}
        if self.classes is not None and self.language is not None and self.label in batch:
            rows["logits.zero_shot"] = outputs[self.seen] @ self.words(self.classes.names).T
            rows["target.zero_shot"] = batch[self.label]
        return rows

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns the similarity matrix, and what is found for a few queries."""
        return {**super().plots(rows, split), **plots(rows, split, self.modalities, (self.seen, self.language))}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns one recognition and one search, in words."""
        names = self.classes.names if self.classes is not None else []
        return examples(rows, split, (self.label, names), (self.seen, self.language))

    # ---- use ---------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Clip:
        """Sets the mode; embeddings of words are computed anew after each change of the weights."""
        self._words = {}
        super().train(mode)
        return self

    def words(self, names: Sequence[str]) -> Tensor:
        """Returns one embedding for each name, the mean over the prompts (Radford et al. 2021, 3.1.4).

        Args:
            names: C names of classes, or tags.

        Returns:
            (C, D) of unit length.
        """
        key = tuple(names)
        if key not in self._words:
            spoken = [name.replace("_", " ") for name in names]
            texts = [prompt.replace("{}", name) for name in spoken for prompt in self.config.prompts]
            embeddings = self.embed_texts(texts).view(len(names), len(self.config.prompts), -1)  # (C, P, D)
            self._words[key] = F.normalize(embeddings.mean(1), dim=-1)
        return self._words[key]

    def embed_texts(self, texts: Sequence[str]) -> Tensor:
        """Returns the embeddings (B, D) of B texts."""
        assert self.language is not None
        embeddings: Tensor = self(self.batched([{self.language: text} for text in texts]))[self.language]
        return embeddings

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns embeddings of the given fields, and class probabilities and tags of what is seen.

        `plus` and `minus` move the embedding of what is seen by words: the picture of a dog, minus
        "dog", plus "cat" (Kiros et al. 2014, 5.2).

        Raises:
            UserError: There is nothing that they could move.
        """
        if self.seen not in batch and ("plus" in batch or "minus" in batch):
            raise UserError("There is nothing to move by words.", f"`plus` and `minus` move {self.seen}.", "Give both.")
        outputs = self(batch)
        seen = outputs.get(self.seen)
        if seen is not None:
            seen = outputs[self.seen] = self._moved(seen, batch)
        result: dict[str, Any] = {f"{name}_embedding": embedding for name, embedding in outputs.items()}
        for name, known in ((self.label, self.classes), ("tags", self.tags)):
            if seen is not None and known is not None and name in self.outputs:
                result[name] = self._chances(seen, known.names)
        return result

    def _moved(self, seen: Tensor, batch: Batch) -> Tensor:
        for name, sign in (("plus", 1.0), ("minus", -1.0)):
            if name in batch:
                words = self(Batch(batch.samples, {str(self.language): batch[name]}))[str(self.language)]
                seen = seen + sign * words
        return F.normalize(seen, dim=-1)

    def _chances(self, seen: Tensor, names: Sequence[str]) -> Tensor:
        scale = getattr(self.loss, "log_scale", torch.tensor(0.0)).exp()
        return (scale * seen @ self.words(names).T).softmax(-1)


def _names(names: Sequence[str]) -> Label | None:
    if not names:
        return None
    label = Label(Label.Config())
    label.fit(names)
    return label


def _key(sample: Mapping[str, Any], name: str) -> str:
    value = sample[name]
    return str(value) if isinstance(value, str) else str(sample["id"])
