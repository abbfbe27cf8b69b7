"""Numbers, within bounds.

Shapes: B samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor

from sensorium import MediaError, Modality
from sensorium.builtin.values import shown


class Number(Modality):
    """A single number: a measurement, or a choice such as the seed of what is drawn."""

    form = "number"
    shape = ()

    class Config(Modality.Config):
        """Which numbers are taken."""

        least: float | None = None
        """Smallest number; None for any."""
        most: float | None = None
        """Largest number; None for any."""
        whole: bool = False
        """Whether only whole numbers are taken."""

        def __post_init__(self) -> None:
            if self.least is not None and self.most is not None and self.least > self.most:
                raise ValueError("least must not be above most")

    config: Number.Config

    def decode(self, raw: Any) -> float:
        """Returns the number; digits in a string count as one.

        Raises:
            MediaError: It is not a finite number, or lies out of bounds.
        """
        config = self.config
        try:
            value = math.nan if isinstance(raw, bool) else float(raw)
        except (TypeError, ValueError, OverflowError):
            value = math.nan
        whole = not config.whole or value.is_integer()
        low, high = config.least, config.most
        if (
            not math.isfinite(value)
            or not whole
            or (low is not None and value < low)
            or (high is not None and value > high)
        ):
            raise MediaError(f"{shown(raw)} does not fit.", f"Expected: {self._wanted()}.")
        return value

    def transform(self, value: float, random: Generator | None) -> Tensor:
        """Returns the number as a scalar, float32."""
        return torch.tensor(value, dtype=torch.float32)

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B,)."""
        return torch.stack(list(values))

    def encode(self, value: Tensor) -> float:
        """Returns the number."""
        return int(value) if self.config.whole else float(value)

    def example(self, random: Generator) -> float:
        """Returns a number within the bounds."""
        least = self.config.least if self.config.least is not None else 0.0
        most = self.config.most if self.config.most is not None else least + 1000
        value = least + (most - least) * float(torch.rand((), generator=random))
        return math.floor(value) if self.config.whole else value

    def preprocessing(self) -> list[dict[str, Any]]:
        """Returns the bounds."""
        return [{"step": "number", **self.json_schema(), "about": "The number as it is."}]

    def postprocessing(self) -> list[dict[str, Any]]:
        """Returns the bounds."""
        return self.preprocessing()

    def json_schema(self) -> dict[str, Any]:
        """Returns type and bounds."""
        bounds = {"minimum": self.config.least, "maximum": self.config.most}
        kind = "integer" if self.config.whole else "number"
        return {"type": kind, **{key: bound for key, bound in bounds.items() if bound is not None}}

    def _wanted(self) -> str:
        least, most = self.config.least, self.config.most
        bounds = [
            *([f"{least:g} at least"] if least is not None else []),
            *([f"{most:g} at most"] if most is not None else []),
        ]
        return ", ".join(["a whole number" if self.config.whole else "a finite number", *bounds])
