"""Points in the plane, in any number: a cloud, read from a list of [x, y].

Shapes: B clouds, T points.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from sensorium import MediaError, Modality, Padded, hookimpl


class ExampleName(Modality):
    """Clouds of points in the plane."""

    form = "points"
    shape = (2, None)

    class Config(Modality.Config):
        """Augmentation."""

        jitter: float = 0.0
        """Deviation of the noise on each coordinate in training; 0 for none."""

    config: Config

    def decode(self, raw: Any) -> Tensor:
        """Returns a list of [x, y] as (2, T) float32.

        Raises:
            MediaError: It is not a list of points.
        """
        try:
            points = torch.as_tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError) as cause:
            raise MediaError(f"{raw!r:.60} is not a cloud of points.", "A list of [x, y] was expected.") from cause
        if points.ndim != 2 or points.shape[1] != 2 or not len(points):
            raise MediaError(f"A cloud has the shape {tuple(points.shape)}.", "(T, 2) was expected.")
        return points.T

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns the cloud (2, T), with noise if `random` is given."""
        return value if random is None else value + self.config.jitter * torch.randn(value.shape, generator=random)

    def collate(self, values: Sequence[Tensor]) -> Padded:
        """Returns (B, 2, T), with zeros after the points of each."""
        data = pad_sequence([value.T for value in values], batch_first=True).transpose(1, 2)
        lengths = torch.tensor([value.shape[1] for value in values])
        return Padded(data, torch.arange(data.shape[2]) < lengths[:, None])

    def encode(self, value: Tensor) -> list[list[float]]:
        """Returns the points as a list of [x, y]."""
        return value.T.tolist()

    def example(self, random: Generator) -> list[list[float]]:
        """Returns three to eight points."""
        count = int(torch.randint(3, 9, (), generator=random))
        return torch.randn(count, 2, generator=random).tolist()


@hookimpl
def sensorium_modalities() -> dict[str, type[Modality]]:
    """Registers the modality."""
    return {"example_name": ExampleName}
