"""What binds one modality to pictures: its encoder, a linear map into the common space, and its loss.

Shapes: B samples, D channels of the encoder, S channels of the space.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Config, Encoder, Loss, Modality
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
    """

    def __init__(self, bound: Bound, modality: Modality, space: int) -> None:
        super().__init__()
        self.encoder: Encoder = bound.encoder.build(modality)
        self.norm = nn.LayerNorm(self.encoder.dim)
        self.head = nn.Linear(self.encoder.dim, space, bias=False)
        self.loss: Loss = InfoNCE(InfoNCE.Config(temperature=bound.temperature, learnable=False))

    def forward(self, value: Any) -> Tensor:
        """Returns the embedding of each sample, (B, S) of unit length."""
        return F.normalize(self.head(self.norm(self.encoder(value).pooled)), dim=-1)


def by_itself(modality: Modality) -> Modality:
    """Returns a modality that needs no picture to lie over: as a question of its own."""
    if modality.follows is None:
        return modality
    alone: Modality = replace(modality.config, follows=None).build()  # type: ignore[call-arg]
    alone.restore(modality.state())
    return alone
