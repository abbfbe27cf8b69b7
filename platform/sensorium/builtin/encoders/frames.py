"""Video as a row of pictures: each frame through one encoder of pictures.

Shapes: B videos, T frames, C channels, H rows, W columns, D channels of the result.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from sensorium import Encoder, Features, Modality, UserError
from sensorium.builtin.encoders.inputs import fixed
from sensorium.builtin.encoders.pooling import mean_pool
from sensorium.builtin.encoders.transformer import TransformerBlock


class Frames(Encoder):
    """An encoder of pictures that looks at every frame, and a transformer over the frames, if any; tokens are frames.

    Without a transformer, the mean of the frames does not tell their order (as in H. Luo et al., CLIP4Clip,
    Neurocomputing 2022, of which both are the first two of three ways).
    """

    takes = ("video",)
    probe: ClassVar[dict[str, Any]] = {"encoder": {"name": "convnet", "widths": [4], "depth": 0, "dim": 8}}

    class Config(Encoder.Config):
        """What looks at a frame, and what joins the frames."""

        encoder: Encoder.Config
        """An encoder of pictures."""

        depth: int = 0
        """Blocks of a transformer over the frames; 0 takes them as they are."""

        heads: int = 4
        """Attention heads in a block; divides the encoder's channels."""

        def __post_init__(self) -> None:
            if self.depth < 0 or self.heads < 1:
                raise ValueError("depth is at least 0, heads at least 1.")

    config: Frames.Config

    def __init__(self, config: Frames.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.encoder: Encoder = config.encoder.build(modality.frame)  # type: ignore[attr-defined]
        self.dim = self.encoder.dim
        if config.depth and self.dim % config.heads:
            raise UserError(
                f"The encoder of frames has {self.dim} channels, which {config.heads} heads do not divide.",
                "A multiple was expected.",
                "Change the encoder's `dim`, or `heads`.",
            )
        self.blocks = nn.ModuleList(TransformerBlock(self.dim, config.heads) for _ in range(config.depth))
        if config.depth:
            self.positions = nn.Parameter(torch.empty(fixed(modality, 0), self.dim))
            nn.init.normal_(self.positions, std=0.5)  # as large as tokens: at 0.02 the order is not learnt from scratch

    def forward(self, batch: Any) -> Features:
        """Returns tokens (B, T, D) with their mask, and pooled (B, D), their mean.

        Args:
            batch: What `video` collates, or frames (B, T, C, H, W) alone.
        """
        data, mask = (batch, None) if isinstance(batch, Tensor) else (batch.data, batch.mask)
        tokens = self.encoder(data.flatten(0, 1)).pooled.unflatten(0, data.shape[:2])
        if self.config.depth:
            tokens = tokens + self.positions[: tokens.shape[1]]
        for block in self.blocks:
            tokens = block(tokens, mask)
        if mask is not None:
            tokens = tokens * mask[:, :, None]
        return Features(mean_pool(tokens, mask), tokens, mask)
