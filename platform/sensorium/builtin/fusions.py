"""Fusions of whole samples: into one space, side by side, by sum, by products, by gates, or one changed by another.

Shapes: B samples, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn
from torch.nn import functional as F

from sensorium import Features, Fusion, NamedModules, UserError


class Projection(Fusion):
    """Each field into one common space, where similarity is a dot product (Radford et al. 2021)."""

    class Config(Fusion.Config):
        """The common space."""

        dim: int | None = 512
        """Number of channels of the common space. None takes each field as it is: encoders that end in one space
        already, such as `clip_image` and `clip_text`, are not projected once more."""

        normalise: bool = True
        """Whether each row is scaled to unit length, so that dot products are cosines."""

        def __post_init__(self) -> None:
            if self.dim is not None:
                _check(self.dim)

    config: Projection.Config

    def __init__(self, config: Projection.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        dim = config.dim or next(iter(dims.values()))
        self.dims = dict.fromkeys(dims, dim)
        if config.dim is None and self.dims != dims:
            raise UserError(
                f"The fusion projection has no `dim`, and the fields differ: {dims}.",
                "Without `dim`, each field is taken as it is, and all have one number of channels.",
                "Set `dim`.",
            )
        maps = {field: nn.Linear(d, dim, bias=False) if config.dim else nn.Identity() for field, d in dims.items()}
        self.maps = NamedModules(maps)

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns each field that is given as `pooled` (B, dim)."""
        rows = {field: self.maps[field](each.pooled) for field, each in features.items()}
        if self.config.normalise:
            rows = {field: F.normalize(each, dim=-1) for field, each in rows.items()}
        return {field: Features(each) for field, each in rows.items()}


class Concatenation(Fusion):
    """All fields side by side, in the order of the fields."""

    def __init__(self, config: Concatenation.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.fields = tuple(dims)
        self.dims = {"joint": sum(dims.values())}

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, sum of D)."""
        return {"joint": Features(torch.cat([features[field].pooled for field in self.fields], dim=-1))}


class Sum(Fusion):
    """Sum of the fields, each through a linear map and tanh: the control of `product`."""

    class Config(Fusion.Config):
        """The space in which fields are added."""

        dim: int = 1024
        """Number of channels of the sum."""

        def __post_init__(self) -> None:
            _check(self.dim)

    def __init__(self, config: Sum.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.dims = {"joint": config.dim}
        self.maps = NamedModules({field: nn.Linear(d, config.dim) for field, d in dims.items()})

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, dim)."""
        rows = [torch.tanh(layer(features[field].pooled)) for field, layer in self.maps.items()]
        return {"joint": Features(torch.stack(rows).sum(0))}


class Bilinear(Fusion):
    """Each channel a bilinear form of two fields, of a rank that is set.

    J.-H. Kim et al., Hadamard Product for Low-rank Bilinear Pooling, ICLR 2017, equation 4, without tanh:
    joint = P (U a * V b). With rank 1 for each channel and P the identity it is `product` without tanh.
    """

    class Config(Fusion.Config):
        """Sizes."""

        dim: int = 256
        """Number of channels of the result."""

        rank: int = 512
        """Number of products of which each channel is a weighted sum."""

        def __post_init__(self) -> None:
            _check(min(self.dim, self.rank))

    def __init__(self, config: Bilinear.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        if len(dims) != 2:
            raise UserError(
                f"The fusion bilinear joins two fields, not {len(dims)}.", hint="Take `product` or `concatenation`."
            )
        self.dims = {"joint": config.dim}
        self.maps = NamedModules({field: nn.Linear(d, config.rank) for field, d in dims.items()})
        self.join = nn.Linear(config.rank, config.dim)

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, dim)."""
        rows = [layer(features[field].pooled) for field, layer in self.maps.items()]
        return {"joint": Features(self.join(torch.stack(rows).prod(0)))}


class Product(Fusion):
    """Point-wise product of the fields, each through a linear map and tanh.

    Antol et al. 2015, section 4, the model `deeper LSTM Q norm I`.
    """

    class Config(Fusion.Config):
        """The space in which fields are multiplied."""

        dim: int = 1024
        """Number of channels of the product."""

        def __post_init__(self) -> None:
            _check(self.dim)

    def __init__(self, config: Product.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.dims = {"joint": config.dim}
        self.maps = NamedModules({field: nn.Linear(d, config.dim) for field, d in dims.items()})

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, dim)."""
        rows = [torch.tanh(layer(features[field].pooled)) for field, layer in self.maps.items()]
        return {"joint": Features(torch.stack(rows).prod(0))}


class Normalised(Fusion):
    """All fields side by side, each in a space of one size and normalised: no field drowns another by its size."""

    class Config(Fusion.Config):
        """The space of each field."""

        dim: int = 128
        """Number of channels of each field."""

        def __post_init__(self) -> None:
            _check(self.dim)

    def __init__(self, config: Normalised.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.dims = {"joint": config.dim * len(dims)}
        maps = {field: nn.Sequential(nn.Linear(d, config.dim), nn.LayerNorm(config.dim)) for field, d in dims.items()}
        self.maps = NamedModules(maps)

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, dim for each field)."""
        return {"joint": Features(torch.cat([layer(features[field].pooled) for field, layer in self.maps.items()], -1))}


class Gated(Fusion):
    """Mean of the fields, each through a linear map and tanh, with weights that follow from all of them.

    J. Arevalo et al., Gated Multimodal Units for Information Fusion, ICLR workshop 2017, equations 1 to 5, with a
    softmax over the fields in each channel, which for two of them is their sigmoid.
    """

    class Config(Fusion.Config):
        """The common space."""

        dim: int = 256
        """Number of channels of the result."""

        def __post_init__(self) -> None:
            _check(self.dim)

    def __init__(self, config: Gated.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        self.dims = {"joint": config.dim}
        self.maps = NamedModules({field: nn.Linear(d, config.dim) for field, d in dims.items()})
        self.gates = NamedModules({field: nn.Linear(sum(dims.values()), config.dim) for field in dims})

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, dim)."""
        together = torch.cat([features[field].pooled for field in self.maps], -1)
        shares = torch.stack([gate(together) for gate in self.gates.values()]).softmax(0)
        rows = torch.stack([layer(features[field].pooled).tanh() for field, layer in self.maps.items()])
        return {"joint": Features((shares * rows).sum(0))}


class FiLM(Fusion):
    """The first of two fields, each channel scaled and shifted by what the second says.

    E. Perez et al., FiLM: Visual Reasoning with a General Conditioning Layer, AAAI 2018, equation 1.
    """

    def __init__(self, config: FiLM.Config, dims: Mapping[str, int]) -> None:
        super().__init__(config, dims)
        if len(dims) != 2:
            raise UserError(f"The fusion film joins two fields, not {len(dims)}.", hint="Take `gated`.")
        (self.first, dim), (self.second, other) = dims.items()
        self.dims = {"joint": dim}
        self.change = nn.Linear(other, 2 * dim)

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns `joint` with `pooled` (B, D of the first field)."""
        scale, shift = self.change(features[self.second].pooled).chunk(2, -1)
        return {"joint": Features((1 + scale) * features[self.first].pooled + shift)}


def _check(dim: int) -> None:
    if dim < 1:
        raise ValueError("The number of channels must be at least 1.")
