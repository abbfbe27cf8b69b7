"""A fusion by gates: each field says how much of itself passes.

Shapes: B samples, D channels.
"""

from collections.abc import Mapping

import torch
from torch import nn

from sensorium import Features, Fusion, NamedModules, hookimpl


class ExampleName(Fusion):
    """The sum of all fields, each multiplied by a gate that it computes itself."""

    class Config(Fusion.Config):
        """The joint space."""

        dim: int = 256
        """Number of channels of the sum."""

    def __init__(self, config: Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.dims = {"joint": config.dim}
        self.values = NamedModules({field: nn.Linear(dim, config.dim) for field, dim in dims.items()})
        self.gates = NamedModules({field: nn.Linear(dim, config.dim) for field, dim in dims.items()})

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, D)."""
        rows = [
            torch.sigmoid(self.gates[field](each.pooled)) * self.values[field](each.pooled)
            for field, each in features.items()
        ]
        return {"joint": Features(torch.stack(rows).sum(0))}


@hookimpl
def sensorium_fusions() -> dict[str, type[Fusion]]:
    """Registers the fusion."""
    return {"example_name": ExampleName}
