"""The task: pictures and tags, each learnt by itself, are brought into one space.

Shapes: B samples, C tags, V channels of a tag's vector, D channels of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Modality, Objective, Rows, Split, Stage, UserError, unknown, workers
from sensorium.builtin.looking import Looking
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.vector import Vector
from sensorium_tagging import arithmetic
from sensorium_tagging.report import sheet_of
from sensorium_tagging.triplets import mean_triplet

OWN = ("words", "minus", "plus")
"""Inputs that are tags."""


class Tagging(Looking):
    """A picture and its tags in one space.

    Stages: those of `recognition`, `words`, `projection`, `fine_tune`.
    """

    class Config(Looking.Config):
        """What is brought together, and how."""

        tags: str = "tags"
        """Field of the tags."""
        word_dim: int = 64
        """V, size of a tag's own vector, which is learnt from the tags that stand beside it."""
        dim: int = 64
        """D, size of the common space."""
        margin: float = 0.2
        """Cosine by which what belongs must lie nearer than what does not."""
        negatives: Literal["all", "hardest"] = "hardest"
        """Whether all negatives of the global batch count, or the nearest alone."""
        warm_up: float = 0.5
        """Share of the stage `projection` in which all negatives count before the hardest does alone."""
        kinds: list[list[str]] = field(default_factory=list)
        """Tags of which one takes another's place, such as the colours, kind by kind: what arithmetic is asked of."""

        def __post_init__(self) -> None:
            super().__post_init__()
            if min(self.word_dim, self.dim) < 1 or self.margin < 0 or not 0 <= self.warm_up <= 1:
                raise ValueError("word_dim and dim are at least 1, margin at least 0, warm_up lies in [0, 1].")
            named = [name for kind in self.kinds for name in kind]
            if len(set(named)) < len(named) or any(len(kind) < 2 for kind in self.kinds):
                raise ValueError("kinds names at least two tags of each kind, and each tag once.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        tags = modalities.get(config.tags)
        if not isinstance(tags, Tags):
            raise UserError(
                f"The field {config.tags!r} has no modality tags.",
                f"Fields: {', '.join(modalities)}.",
                "Add it to `modalities`, or set model.tags.",
            )
        self.tags = tags
        for name in (name for kind in config.kinds for name in kind):
            if name not in tags.names:
                raise unknown("tag", name, tags.names, "model.kinds")
        self.kinds = [[tags.names.index(name) for name in kind] for kind in config.kinds]
        self.words: nn.Embedding = nn.Embedding(tags.vocabulary, config.word_dim)
        self.contexts: nn.Embedding = nn.Embedding(tags.vocabulary, config.word_dim)
        for table in (self.words, self.contexts):
            nn.init.normal_(table.weight, std=config.word_dim**-0.5)
        self.from_picture: nn.Linear = nn.Linear(self.eyes.dim, config.dim)
        self.from_words: nn.Linear = nn.Linear(config.word_dim, config.dim)
        seen = {config.image: modalities[config.image]}
        self.inputs = self.apart("inputs", seen, dict.fromkeys(OWN, tags))
        self.optional = frozenset(self.inputs)
        vector = Vector(Vector.Config(size=config.dim))
        self.embeddings = {config.image: "image_embedding", "words": "words_embedding"}
        self.outputs = {"tags": tags, "image_embedding": vector, "words_embedding": vector}

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> Sequence[Stage]:
        """Returns first each side by itself, then the maps into the space, then all of it."""
        earlier, _ = self.seeing()
        maps = ["from_picture", "from_words"]
        names: Mapping[Any, str] = {id(module): name for name, module in self.named_modules()}
        both = [*maps, "words", *([] if self.config.fine_tune is False else [names[id(self.eyes)]])]
        return [
            *earlier,
            Stage("words", [Objective("words", ["words", "contexts"], self.beside, self.beside_losses)]),
            Stage("projection", [Objective("projection", maps, self.forward, self.first_losses)]),
            Stage("fine_tune", [Objective("fine_tune", both, self.forward, self.losses)]),
        ]

    def beside(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the skip-gram's loss of each sample (B,), the mean over pairs of its tags, and how many these are."""
        has = batch[self.config.tags]
        costs = -F.log_softmax(self.words.weight @ self.contexts.weight.T, dim=-1)  # (C, C)
        total = ((has @ costs) * has).sum(1) - has @ costs.diagonal()
        pairs = has.sum(1) * (has.sum(1) - 1)
        return {"loss": total / pairs.clamp(min=1), "pairs": pairs}

    def beside_losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the mean over the samples with several tags."""
        return {"beside": workers.mean_over(outputs["loss"], batch, outputs["pairs"] > 0)}

    def forward(self, batch: Batch) -> Tensor:
        """Returns the embeddings of what is seen, (B, D) of unit length."""
        return F.normalize(self.from_picture(self.look(batch).pooled), dim=-1)

    def vectors(self) -> Tensor:
        """Returns the embeddings of the tags, (C, D) of unit length."""
        return F.normalize(self.from_words(self.words.weight), dim=-1)

    def first_losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the triplet loss of all negatives, and from `warm_up` on of the hardest."""
        return self._triplet(outputs, batch, batch.progress >= self.config.warm_up)

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the triplet loss."""
        return self._triplet(outputs, batch, True)

    def _triplet(self, outputs: Tensor, batch: Batch, warm: bool) -> dict[str, Tensor]:
        scores, hardest = outputs @ self.vectors().T, warm and self.config.negatives == "hardest"
        return {"triplet": mean_triplet(scores, batch[self.config.tags] > 0, self.config.margin, hardest)}

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns the embeddings, the cosines of all tags, and which are true."""
        cosines = outputs @ self.vectors().T
        return {
            f"embedding.{self.config.image}": outputs,
            "scores.tags": cosines,
            "truth.tags": batch[self.config.tags],
        }

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the metrics, and those of arithmetic where there are kinds."""
        found = super().metrics(rows)
        if self.kinds:
            pictures = rows[f"embedding.{self.config.image}"]
            found |= arithmetic.metrics(pictures, rows["truth.tags"], rows["scores.tags"], self.kinds)
        return found

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns pictures with what words make of them; none without kinds, or of what is not seen."""
        image = self.modalities[self.config.image]
        plots = super().plots(rows, split)
        if not self.kinds or not isinstance(image, Image):
            return plots
        asked = arithmetic.questions(rows["truth.tags"][: arithmetic.GALLERY] > 0, self.kinds)
        if len(asked):
            plots["arithmetic.png"] = sheet_of(
                asked,
                rows[f"embedding.{self.config.image}"],
                rows["scores.tags"],
                self.tags.names,
                lambda place: image.seen(split[place][self.config.image]),
            )
        return plots

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns the tags that lie nearest to the first picture."""
        order = rows["scores.tags"][0].argsort(descending=True).tolist()
        said = [self.tags.names[column] for column in order[: max(1, int(rows["truth.tags"][0].sum()))]]
        return [f"{rows['id'][0]}: {', '.join(said)}; right are {', '.join(split[0][self.config.tags])}."]

    # ---- use ---------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the embedding of a picture, moved by the words `minus` and `plus`, and the cosines of its tags.

        And the embedding of `words`, tags by which pictures are looked for.

        Raises:
            UserError: The training did not have a tag, or there is no picture that words could move.
        """
        result: dict[str, Any] = {}
        given = {name: self._of(batch, name) for name in OWN if name in batch}
        if self.config.image in batch:
            seen = self(batch)
            for name, sign in (("minus", -1.0), ("plus", 1.0)):
                seen = seen + sign * given[name] if name in given else seen
            seen = F.normalize(seen, dim=-1)
            result = {"image_embedding": seen, "tags": (seen @ self.vectors().T).clamp(min=0)}
        elif given.keys() - {"words"}:
            raise UserError("There is nothing to move by words.", "`plus` and `minus` move a picture.", "Give both.")
        if "words" in given:
            result["words_embedding"] = F.normalize(given["words"], dim=-1)
        return result

    def _of(self, batch: Batch, name: str) -> Tensor:
        """Returns the sum of the vectors of an input's tags, (B, D)."""
        for sample in batch.samples:
            if name == "words" and not sample.get(name):
                raise UserError("There are no words to look for.", "At least one tag was expected.", "Name one.")
            for tag in self.tags.decode(sample.get(name, [])):
                if tag not in self.tags.names:
                    raise unknown("tag", tag, self.tags.names)
        total: Tensor = batch[name] @ self.vectors()
        return total
