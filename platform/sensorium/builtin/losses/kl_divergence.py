"""The Kullback-Leibler divergence of what is said from what a teacher says.

Shapes: B samples, C classes.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from sensorium import Loss


class KLDivergence(Loss):
    """KL(teacher || student), summed over the classes (Hinton et al. 2015 without temperature)."""

    form: ClassVar[str] = "distributions"
    unit: ClassVar[str] = "nats"

    def __init__(self, config: KLDivergence.Config) -> None:
        super().__init__(config)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """Returns the divergence of each sample, (B,).

        Args:
            logits: (B, C), of the student.
            target: (B, C), the teacher's probabilities, of which each row adds up to 1.
        """
        return F.kl_div(logits.float().log_softmax(-1), target.float(), reduction="none").sum(-1)
