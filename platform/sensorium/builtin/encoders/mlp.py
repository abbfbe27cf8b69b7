"""A multi-layer perceptron over a vector.

Shapes: B samples, N channels of the vector, D features.
"""

from __future__ import annotations

from dataclasses import field
from itertools import pairwise

from torch import Tensor, nn

from sensorium import Encoder, Features, Modality
from sensorium.builtin.encoders.inputs import fixed


class MLP(Encoder):
    """Linear layers with ReLU between them."""

    takes = ("vector",)

    class Config(Encoder.Config):
        """Sizes."""

        widths: list[int] = field(default_factory=lambda: [64])
        """Channels of each hidden layer; none is a linear map."""
        dim: int = 64
        """D, channels of the result."""

        def __post_init__(self) -> None:
            if min(self.dim, *self.widths, 1) < 1:
                raise ValueError("widths and dim are at least 1.")

    config: Config

    def __init__(self, config: Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim = config.dim
        sizes = [fixed(modality, 0), *config.widths, config.dim]
        layers = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, batch: Tensor) -> Features:
        """Returns the features (B, D) of vectors (B, N) as `pooled`."""
        return Features(self.layers(batch))
