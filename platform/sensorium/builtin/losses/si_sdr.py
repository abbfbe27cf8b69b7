"""The scale-invariant signal-to-distortion ratio as a loss.

Shapes: B samples, S samples of sound.
"""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from sensorium import Loss
from sensorium.ops.audio import si_sdr


class SISDR(Loss):
    """The negative scale-invariant signal-to-distortion ratio."""

    form: ClassVar[str] = "sounds"
    unit: ClassVar[str] = "dB, negative"

    def __init__(self, config: SISDR.Config) -> None:
        super().__init__(config)

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        """Returns the loss of each sample, (B,).

        Args:
            estimate: (B, ..., S); the mean is taken over what lies between.
            reference: (B, ..., S).
        """
        return -si_sdr(estimate, reference).flatten(1).mean(1) if estimate.ndim > 2 else -si_sdr(estimate, reference)
