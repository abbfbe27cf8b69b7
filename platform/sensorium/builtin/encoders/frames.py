"""Video as a row of pictures: each frame through one encoder of pictures.

Shapes: B videos, T frames, C channels, H rows, W columns, D channels of the result.
"""

from __future__ import annotations

from typing import Any, ClassVar

from torch import Tensor

from sensorium import Encoder, Features, Modality
from sensorium.builtin.encoders.pooling import mean_pool


class Frames(Encoder):
    """An encoder of pictures that looks at every frame; its tokens are the frames, in time."""

    takes = ("video",)
    probe: ClassVar[dict[str, Any]] = {"encoder": {"name": "convnet", "widths": [4], "depth": 0, "dim": 8}}

    class Config(Encoder.Config):
        """What looks at a frame."""

        encoder: Encoder.Config
        """An encoder of pictures."""

    config: Frames.Config

    def __init__(self, config: Frames.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.encoder: Encoder = config.encoder.build(modality.frame)  # type: ignore[attr-defined]
        self.dim = self.encoder.dim

    def forward(self, batch: Any) -> Features:
        """Returns tokens (B, T, D) with their mask, and pooled (B, D), their mean.

        Args:
            batch: What `video` collates, or frames (B, T, C, H, W) alone.
        """
        data, mask = (batch, None) if isinstance(batch, Tensor) else (batch.data, batch.mask)
        tokens = self.encoder(data.flatten(0, 1)).pooled.unflatten(0, data.shape[:2])
        if mask is not None:
            tokens = tokens * mask[:, :, None]
        return Features(mean_pool(tokens, mask), tokens, mask)
