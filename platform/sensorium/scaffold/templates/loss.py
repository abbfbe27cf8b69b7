"""Focal loss: cross-entropy that looks away from what is easy (Lin et al. 2017, equation 4).

Shapes: B samples, C classes.
"""

from typing import Any

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

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of each sample (B,), for logits (B, C) and classes (B,)."""
        surprise = F.cross_entropy(logits, target, reduction="none")
        return (1 - surprise.neg().exp()) ** self.gamma * surprise


@hookimpl
def sensorium_losses() -> dict[str, type[Loss]]:
    """Registers the loss."""
    return {"example_name": ExampleName}
