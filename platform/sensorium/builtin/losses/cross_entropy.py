"""Cross-entropy over classes or words.

Shapes: B samples, T tokens, C classes.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from sensorium import Loss


class CrossEntropy(Loss):
    """Negative log likelihood of the right class, the mean over a sample's tokens."""

    form: ClassVar[str] = "classes"
    unit: ClassVar[str] = "nats"

    class Config(Loss.Config):
        """How certain the target is."""

        label_smoothing: float = 0.0
        """Share of the target that goes to all classes alike, from 0 to 1 (Szegedy et al. 2016)."""

        def __post_init__(self) -> None:
            if not 0 <= self.label_smoothing <= 1:
                raise ValueError("The label smoothing must lie between 0 and 1.")

    config: CrossEntropy.Config

    def __init__(self, config: CrossEntropy.Config) -> None:
        super().__init__(config)

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the loss of each sample, (B,); 0 for a sample without real tokens.

        Args:
            logits: (B, C), or (B, T, C).
            target: (B,), or (B, T), the right class.
            mask: (B, T), True where a token is real; None when all are.
        """
        smoothing = self.config.label_smoothing
        flat = logits.flatten(0, -2), target.flatten()
        losses = F.cross_entropy(*flat, reduction="none", label_smoothing=smoothing).view(target.shape)
        if target.dim() == 1:
            return losses
        if mask is None:
            return losses.mean(1)
        return losses.where(mask, 0).sum(1) / mask.sum(1).clamp(min=1)
