"""A vector as it is.

Shapes: B samples, D channels.
"""

from __future__ import annotations

from torch import Tensor

from sensorium import Encoder, Features, Modality
from sensorium.builtin.encoders.inputs import fixed


class Identity(Encoder):
    """Features that somebody else has made, to be joined or told apart as they are."""

    takes = ("vector",)

    def __init__(self, config: Identity.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim = fixed(modality, 0)

    def forward(self, batch: Tensor) -> Features:
        """Returns the vectors (B, D) as `pooled`."""
        return Features(batch)
