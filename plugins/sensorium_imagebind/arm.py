"""What binds one modality to pictures: its encoder, a linear map into the common space, and its loss.

Shapes: B samples, D channels of the encoder, S channels of the space.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config, Encoder, Loss, Modality, NamedModules
from sensorium.builtin.losses.infonce import InfoNCE


class Bound(Config):
    """How a modality is bound to pictures."""

    encoder: Encoder.Config
    """What reads it."""
    temperature: float = 0.2
    """Divisor of cosine similarities in its loss; it stays as it is. Every modality wants one of its own."""
    source: str | None = None
    """Source of the dataset that holds its pairs; the name of the field where it is left out."""


class Arm(nn.Module):
    """One modality on its way into the space of pictures.

    Args:
        bound: Its parts.
        modality: What its encoder reads.
        space: S.
        drawn: Whether pictures are drawn of it, for which it learns what is `seen` of it.
    """

    def __init__(self, bound: Bound, modality: Modality, space: int, drawn: bool = False) -> None:
        super().__init__()
        self.encoder: Encoder = bound.encoder.build(modality)
        self.norm = nn.LayerNorm(self.encoder.dim)
        self.head = nn.Linear(self.encoder.dim, space, bias=False)
        self.loss: Loss = InfoNCE(InfoNCE.Config(temperature=bound.temperature, learnable=False))
        self.onto = nn.Linear(space, space) if drawn else None

    def forward(self, value: Any) -> Tensor:
        """Returns the embedding of each sample, (B, S) of unit length."""
        return F.normalize(self.head(self.norm(self.encoder(value).pooled)), dim=-1)

    def seen(self, embedding: Tensor) -> Tensor:
        """Returns the embedding (B, S) that is expected of the picture of what has an embedding (B, S).

        InfoNCE brings what belongs together closer than the rest, but into another part of the space (W. Liang et al.,
        Mind the Gap, NeurIPS 2022), where who draws of pictures' embeddings has never been.
        """
        assert self.onto is not None
        moved: Tensor = self.onto(embedding)
        return embedding + moved

    def seen_losses(self, embedding: Tensor, image: Tensor) -> Tensor:
        """Returns the squared error (B,) of what is expected of pictures; it changes nothing but what is expected."""
        return (self.seen(embedding.detach()) - image).square().sum(1)


def seen_of(embeddings: Mapping[str, Tensor], arms: NamedModules) -> dict[str, Tensor]:
    """Returns field -> what is expected of its picture (B, S); what no arm reads lies there already."""
    bound: dict[str, Any] = dict(arms.items())
    return {name: bound[name].seen(value) if name in bound else value for name, value in embeddings.items()}


def by_itself(modality: Modality) -> Modality:
    """Returns a modality that needs no picture to lie over: as a question of its own."""
    if modality.follows is None:
        return modality
    alone: Modality = replace(modality.config, follows=None).build()  # type: ignore[call-arg]
    alone.restore(modality.state())
    return alone
