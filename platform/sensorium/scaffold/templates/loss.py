"""Focal loss: cross-entropy that looks away from what is easy (Lin et al. 2017, equation 4).

Shapes: B samples, T tokens, C classes.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium import Loss, hookimpl


class ExampleName(Loss):
    """Cross-entropy of each sample times (1 - p)^gamma, p being the probability of the right class."""

    form = "classes"
    unit = "nats, weighted"

    class Config(Loss.Config):
        """The weight."""

        gamma: float = 2.0
        """Exponent; 0 gives cross-entropy."""

    def __init__(self, config: Config, **context: Any) -> None:
        super().__init__(config, **context)
        self.gamma = config.gamma

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Returns the loss of each sample (B,), of several tokens the mean over the real ones.

        Args:
            logits: (B, C), or (B, T, C).
            target: (B,), or (B, T), the right class.
            mask: (B, T), True where a token is real; None when all are.
        """
        surprise = F.cross_entropy(logits.flatten(0, -2), target.flatten(), reduction="none").view(target.shape)
        losses = (1 - surprise.neg().exp()) ** self.gamma * surprise
        if target.dim() == 1:
            return losses
        mask = torch.ones_like(losses, dtype=torch.bool) if mask is None else mask
        return losses.where(mask, 0).sum(1) / mask.sum(1).clamp(min=1)


@hookimpl
def sensorium_losses() -> dict[str, type[Loss]]:
    """Registers the loss."""
    return {"example_name": ExampleName}
