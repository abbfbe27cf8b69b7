"""Binary cross-entropy over tags.

Shapes: B samples, C tags.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from sensorium import Loss


class BinaryCrossEntropy(Loss):
    """Negative log likelihood of each tag being there or not, the mean over the tags."""

    form: ClassVar[str] = "tags"
    unit: ClassVar[str] = "nats"

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the loss of each sample, (B,).

        Args:
            logits: (B, C).
            target: (B, C), 1 where a tag is true, else 0.
        """
        return F.binary_cross_entropy_with_logits(logits.float(), target, reduction="none").mean(1)
