"""The task: pictures of dishes and recipes in one space, which one classifier tells the classes of both in.

A. Salvador, N. Hynes, Y. Aytar, J. Marin, F. Ofli, I. Weber, A. Torralba, Learning Cross-modal Embeddings for Cooking
Recipes and Food Images, CVPR 2017.

Shapes: B samples, C classes, D channels of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Loss, Modality, Objective, Rows, Split, Stage, UserError, unknown, workers
from sensorium.builtin.looking import Looking
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.vector import Vector
from sensorium_recipes.modality import Recipe
from sensorium_recipes.report import found

IMAGE, RECIPE = "image_embedding", "recipe_embedding"


class Recipes(Looking):
    """A picture and its recipe in one space.

    Stages: those of `recognition`, `join`, `fine_tune` of trained eyes.
    """

    class Config(Looking.Config):
        """The parts, and how both sides are brought together."""

        recipe: str = "recipe"
        """Field of the recipe."""
        reader: Encoder.Config
        """What reads it."""
        dim: int = 128
        """D, size of the common space."""
        loss: Loss.Config
        """A loss over pairs."""
        classes: str | None = None
        """Field of the class of a dish; None for none."""
        background: str = "background"
        """Class that stands for none: the classifier does not learn it, and such dishes are not of one class."""
        semantic: float = 0.02
        """Weight of the classifier's loss on both embeddings."""
        keep: list[str] = field(default_factory=list)
        """Raw fields of the samples that metrics read, as rows `sample.<field>`."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if self.dim < 1 or self.semantic < 0:
                raise ValueError("dim is at least 1, semantic at least 0.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        wanted: dict[str, type[Modality]] = {config.recipe: Recipe}
        if config.classes is not None:
            wanted[config.classes] = Label
        for name, kind in wanted.items():
            if not isinstance(modalities.get(name), kind):
                raise UserError(
                    f"The field {name!r} has no modality {kind.__name__.lower()}.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`, or name another field in `model`.",
                )
        self.reader: Encoder = config.reader.build(modalities[config.recipe])
        self.loss: Loss = config.loss.build()
        if self.loss.form != "pairs":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over pairs was expected.", "Take `cosine`.")
        self.from_picture: nn.Linear = nn.Linear(self.eyes.dim, config.dim)
        self.from_recipe: nn.Linear = nn.Linear(self.reader.dim, config.dim)
        self.label: Label | None = modalities[config.classes] if config.classes is not None else None  # type: ignore[assignment]
        if self.label is not None and config.semantic:
            self.classifier: nn.Linear = nn.Linear(config.dim, self.label.vocabulary)
        self.inputs = {name: modalities[name] for name in (config.image, config.recipe)}
        self.optional = frozenset(self.inputs)
        vector = Vector(Vector.Config(size=config.dim))
        self.embeddings = {config.image: IMAGE, config.recipe: RECIPE}
        told = {str(config.classes): self.label} if self.label is not None and config.semantic else {}
        self.outputs = self.apart("outputs", told, {IMAGE: vector, RECIPE: vector})

    def encoder_of(self, field: str) -> Encoder:
        """Returns the network that sees, or the one that reads."""
        return self.reader if field == self.config.recipe else super().encoder_of(field)

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns the stage that joins both sides; eyes that are trained already stay as they are until `fine_tune`."""
        earlier, seeing = self.seeing()
        parts = [name for name, _ in self.named_children() if name not in ("encoder", "recognition", "loss")]
        parts += ["loss"] if list(self.loss.parameters()) else []
        stages = [*earlier, Stage("join", [Objective("join", [*parts, *seeing], self.forward, self.losses)])]
        if not seeing and self.config.fine_tune is not False:
            names: Mapping[Any, str] = {id(module): name for name, module in self.named_modules()}
            every = [*parts, names[id(self.eyes)]]
            stages.append(Stage("fine_tune", [Objective("fine_tune", every, self.forward, self.losses)]))
        return stages

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns input -> embeddings (B, D) of unit length, for those of both inputs that the batch has."""
        outputs = {}
        if self.config.image in batch:
            outputs[self.config.image] = F.normalize(self.from_picture(self.look(batch).pooled), dim=-1)
        if self.config.recipe in batch:
            read = self.reader(batch[self.config.recipe]).pooled
            outputs[self.config.recipe] = F.normalize(self.from_recipe(read), dim=-1)
        return outputs

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over pairs, and that of the one classifier on both embeddings."""
        seen, read = outputs[self.config.image], outputs[self.config.recipe]
        classes = self.classes(batch)
        terms = {"pairs": self.loss(seen, read, batch.groups.to(seen.device))}
        if classes is not None and self.config.semantic:
            logits, classes = self.classifier(torch.cat([seen, read])), classes.repeat(2)
            costs = F.cross_entropy(logits, classes, reduction="none", ignore_index=-1)
            terms["semantic"] = 2 * self.config.semantic * workers.mean_over(costs, batch, classes >= 0)
        return terms

    def classes(self, batch: Batch) -> Tensor | None:
        """Returns the class of each dish, (B,), below 0 for one without; None where there are no classes."""
        field = str(self.config.classes)
        if self.label is None or field not in batch:
            return None
        classes: Tensor = batch[field]
        names = self.label.names
        background = names.index(self.config.background) if self.config.background in names else -1
        return classes.masked_fill((classes == background) | (classes < 0), -1)

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns the embeddings, the class of each dish where there are classes, and what `keep` names."""
        rows: Rows = {f"embedding.{name}": outputs[name] for name in self.inputs}
        rows |= {f"key.{name}": batch.ids for name in self.inputs}
        if (classes := self.classes(batch)) is not None:
            rows["of_class"] = classes
        for name in self.config.keep:
            if name not in batch.samples[0]:
                raise unknown("field", name, batch.samples[0], "model.keep")
            rows[f"sample.{name}"] = [each[name] for each in batch.samples]
        return rows

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns recipes with the pictures that are found for them; none of what is not seen."""
        image = self.modalities[self.config.image]
        if not isinstance(image, Image):
            return super().plots(rows, split)
        seen, read = (rows[f"embedding.{name}"] for name in self.inputs)
        drawn = found(
            read,
            seen,
            rows["group"],
            lambda place: split[place][self.config.recipe],
            lambda place: image.seen(split[place][self.config.image]),
        )
        return {**super().plots(rows, split), "found.png": drawn}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns which picture is found for the first recipe."""
        seen, read = (rows[f"embedding.{name}"] for name in self.inputs)
        best = int((seen @ read[0]).argmax())
        return [f"The recipe of {rows['id'][0]} finds the picture of {rows['id'][best]}."]

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the embeddings of what is given, and the probabilities of its classes: of the picture, if given."""
        outputs = self(batch)
        result: dict[str, Any] = {self.embeddings[name]: each for name, each in outputs.items()}
        if outputs and (told := str(self.config.classes)) in self.outputs:
            result[told] = self.classifier(next(iter(outputs.values()))).softmax(-1)
        return result
