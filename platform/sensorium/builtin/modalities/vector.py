"""Vectors: lists of numbers of one length, as they are.

Shapes: B samples, D numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Generator, Tensor

from sensorium import MediaError, Modality
from sensorium.builtin.values import shown


class Vector(Modality):
    """Lists of numbers of one length: measurements, or features that were computed before."""

    form = "vector"
    probe: ClassVar[dict[str, Any]] = {"size": 8}

    class Config(Modality.Config):
        """The length."""

        size: int
        """Numbers in a vector."""

        def __post_init__(self) -> None:
            if self.size < 1:
                raise ValueError("size is at least 1.")

    config: Vector.Config

    def __init__(self, config: Vector.Config) -> None:
        super().__init__(config)
        self.shape = (config.size,)

    def decode(self, raw: Any) -> Tensor:
        """Returns (D,) float32 from a list, array or tensor of numbers.

        Raises:
            MediaError: It has another length, or holds what is not a finite number.
        """
        if isinstance(raw, (list, tuple)) and len(raw) > self.config.size:
            raise MediaError(f"A vector holds {len(raw)} items.", f"{self.config.size} were expected.")
        try:
            vector = torch.as_tensor(raw).to(torch.float32, copy=True)
        except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as cause:
            raise MediaError(f"{shown(raw)} is not a vector ({cause}).", "A list of numbers was expected.") from cause
        if vector.shape != self.shape:
            raise MediaError(f"A vector has the shape {tuple(vector.shape)}.", f"{self.shape} was expected.")
        if not vector.isfinite().all():
            place = int((~vector.isfinite()).nonzero()[0])
            raise MediaError(f"A vector holds {vector[place]} at place {place}.", "Finite numbers were expected.")
        return vector

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns the vector as it is, (D,)."""
        return value

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B, D)."""
        return torch.stack(list(values))

    def encode(self, value: Tensor) -> list[float]:
        """Returns the numbers as a list."""
        numbers: list[float] = value.tolist()
        return numbers

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns that the numbers are taken as they are."""
        return [{"step": "list", "length": self.config.size, "about": "The numbers as they are."}]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns that the numbers are given as they are."""
        return self.preprocessing()

    def json_schema(self) -> dict[str, Any]:
        """Returns that it is so many numbers."""
        size = self.config.size
        return {"type": "array", "items": {"type": "number"}, "minItems": size, "maxItems": size}

    def example(self, random: Generator) -> list[float]:
        """Returns numbers from the normal distribution."""
        numbers: list[float] = torch.randn(self.config.size, generator=random).tolist()
        return numbers
