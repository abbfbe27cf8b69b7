"""The task: an encoder that learns to see, or to hear, without any label: two views of one thing lie together.

T. Chen, S. Kornblith, M. Norouzi, G. Hinton, A Simple Framework for Contrastive Learning of Visual Representations,
ICML 2020.

Shapes: B samples, N samples of a split, S channels of the space.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Features, Loss, Modality, Objective, Rows, Stage, Task, UserError
from sensorium.builtin.modalities.vector import Vector
from sensorium_sound2scene.views import Views, viewed


class SimCLR(Task):
    """An embedding that tells things apart, learnt from the things alone."""

    experiment = "simclr.yaml"

    class Config(Task.Config):
        """What is looked at, by what, and how views differ."""

        input: str = "image"
        """Field of pictures, or of spectrograms."""
        encoder: Encoder.Config
        """What looks at it."""
        loss: Loss.Config
        """A loss over pairs of views."""
        dim: int = 64
        """S."""
        views: Views = field(default_factory=Views)
        """How far two views lie apart."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        modality = modalities[config.input]
        if modality.form not in ("image", "spectrogram"):
            raise UserError(f"{config.input!r} is {modality.form}.", "Pictures or spectrograms were expected.")
        self.encoder: Encoder = config.encoder.build(modality)
        self.head = nn.Linear(self.encoder.dim, config.dim, bias=False)
        self.loss: Loss = config.loss.build()
        if self.loss.form != "pairs":
            raise UserError(f"model.loss takes {self.loss.form}.", "A loss over pairs was expected.", "Take `infonce`.")
        self.inputs = {config.input: modality}
        self.embeddings = {config.input: f"{config.input}_embedding"}
        self.outputs = {self.embeddings[config.input]: Vector(Vector.Config(size=config.dim))}

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder."""
        return self.encoder if field == self.config.input else super().encoder_of(field)

    def embedding_of(self, field: str, features: Features) -> Tensor:
        """Returns features in the space of the views, (B, S) of unit length."""
        if field != self.config.input:
            return super().embedding_of(field, features)
        return F.normalize(self.head(features.pooled), dim=-1)

    def stages(self) -> Sequence[Stage]:
        """Returns the one stage."""
        parts = ["encoder", "head", *(["loss"] if any(self.loss.parameters()) else [])]
        return [Stage("train", [Objective(self.objective, parts, self.both, self.losses)])]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns field -> embeddings (B, S) of unit length, of things as they are."""
        return {self.config.input: self.embed(batch[self.config.input])}

    def embed(self, value: Any) -> Tensor:
        """Returns embeddings (B, S) of unit length."""
        return self.embedding_of(self.config.input, self.encoder(value))

    def both(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the embeddings (B, S) of two views of each sample."""
        value, views = batch[self.config.input], self.config.views
        return {name: self.embed(viewed(value, views, batch, name)) for name in ("one", "other")}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns the loss over pairs of views; what shares a group, such as a video, shows the same."""
        groups = batch.groups.to(outputs["one"].device)
        return {"views": self.loss(outputs["one"], outputs["other"], groups)}

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns the embeddings."""
        return {"embedding": outputs[self.config.input]}

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns also `neighbour`: how often the nearest other sample is of the same group."""
        scores = (rows["embedding"] @ rows["embedding"].T).fill_diagonal_(-2)
        nearest = rows["group"][scores.argmax(1)]
        return super().metrics(rows) | {"neighbour": float((nearest == rows["group"]).double().mean())}

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the embeddings."""
        return {self.embeddings[name]: value for name, value in self(batch).items()}
