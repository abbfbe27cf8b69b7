"""Boxes around parts of a picture.

Shapes: B samples, N boxes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn.utils.rnn import pad_sequence

from sensorium import Geometry, MediaError, Modality, Padded
from sensorium.builtin.values import shown


class Boxes(Modality):
    """Any number of upright boxes, each the left, top, right and bottom edge, in pixels of the picture.

    The first pixel reaches from 0 to 1. Boxes that `follow` a picture are cropped, mirrored and turned as it is, and
    those that leave it go.
    """

    form = "boxes"
    shape = (None, 4)

    class Config(Modality.Config):
        """What they lie over."""

        follows: str | None = None
        """Field of the picture."""
        shares: bool = False
        """Whether edges are shares of the picture's sides, from 0 to 1, rather than pixels; needs `follows`."""

        def __post_init__(self) -> None:
            if self.shares and self.follows is None:
                raise ValueError("shares needs follows: a picture whose sides they are shares of.")

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.follows = config.follows

    def decode(self, raw: Any) -> Tensor:
        """Returns (N, 4) float32.

        Args:
            raw: N lists of four numbers, or an array or tensor (N, 4).

        Raises:
            MediaError: It is something else, or an edge lies on the wrong side of its opposite.
        """
        try:
            boxes = torch.as_tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as cause:
            raise MediaError(f"{shown(raw)} are not boxes.", "A list of [left, top, right, bottom].") from cause
        if boxes.numel() == 0:
            return boxes.new_zeros(0, 4)
        if boxes.ndim != 2 or boxes.shape[1] != 4 or not boxes.isfinite().all():
            raise MediaError(f"{shown(raw)} are not boxes.", "A list of [left, top, right, bottom], all finite.")
        if not (boxes[:, :2] < boxes[:, 2:]).all():
            raise MediaError(f"{shown(raw)} holds an empty box.", "left < right and top < bottom were expected.")
        return boxes

    def cost(self, raw: Any) -> int:
        """Returns the bytes of its numbers."""
        return 16 * len(raw) if isinstance(raw, (list, tuple)) else 0

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns them as they are."""
        return value

    def follow(self, value: Tensor, geometry: Geometry) -> Tensor:
        """Returns those that are left on the picture, cut to it."""
        height, width = geometry.seen
        limits = torch.tensor([width, height, width, height])
        boxes = geometry.boxes(value * self._unit(geometry)).clamp(min=0).minimum(limits)
        return boxes[(boxes[:, :2] < boxes[:, 2:]).all(1)]

    def put_back(self, value: Padded | Tensor, geometry: Geometry) -> Tensor:
        """Returns those that are real, in the pixels of the picture that was sent."""
        return geometry.inverse().boxes(_real(value)) / self._unit(geometry)

    def _unit(self, geometry: Geometry) -> Tensor:
        """Returns what 1 stands for along both axes, in pixels of the picture that was given, (4,)."""
        height, width = geometry.given if self.config.shares else (1, 1)
        return torch.tensor([width, height, width, height], dtype=torch.float32)

    def collate(self, values: Sequence[Tensor]) -> Padded:
        """Returns (B, N, 4) with the mask (B, N)."""
        counts = torch.tensor([len(value) for value in values])
        return Padded(pad_sequence(list(values), batch_first=True), torch.arange(int(counts.max())) < counts[:, None])

    def encode(self, value: Padded | Tensor) -> list[list[float]]:
        """Returns those that are real."""
        boxes: list[list[float]] = _real(value).tolist()
        return boxes

    def example(self, random: Generator) -> list[list[float]]:
        """Returns a box."""
        left, top, width, height = (1 + 5 * torch.rand(4, generator=random)).tolist()
        return [[left, top, left + width, top + height]]

    def json_schema(self) -> dict[str, Any]:
        """Returns that it is a list of lists of four numbers, up to 1 where they are shares."""
        edge = {"type": "number", **({"maximum": 1} if self.config.shares else {})}
        return {"type": "array", "items": {"type": "array", "items": edge, "minItems": 4, "maxItems": 4}}


def _real(value: Padded | Tensor) -> Tensor:
    return value.data[value.mask].cpu() if isinstance(value, Padded) else value.cpu()
