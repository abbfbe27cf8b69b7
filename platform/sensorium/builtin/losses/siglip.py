"""SigLIP: decide for each pair of the global batch by itself whether it belongs together.

Shapes: B pairs of this worker, N pairs of all workers, D channels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium.builtin.losses.blocks import PairLoss, Pairs, Tile


class SigLIP(PairLoss):
    """Sigmoid loss of each pair, summed over a row (Zhai et al. 2023, eq. 1)."""

    unit: ClassVar[str] = "nats a sample, summed over its pairs with the global batch"

    class Config(PairLoss.Config):
        """Where scale and bias start; both are learnt."""

        scale: float = 10.0
        """Factor of cosine similarities at the start."""

        bias: float = -10.0
        """Number added to scaled similarities at the start; low, as most pairs do not belong."""

        def __post_init__(self) -> None:
            if not 0 < self.scale < math.inf:
                raise ValueError("The scale must be positive.")

    def __init__(self, config: SigLIP.Config) -> None:
        super().__init__(config)
        self.log_scale = nn.Parameter(torch.tensor(math.log(config.scale)))
        self.bias = nn.Parameter(torch.tensor(float(config.bias)))

    def evaluate(self, pairs: Pairs, wanted: bool) -> tuple[Tensor, Sequence[Tensor]]:
        """Returns the mean loss and the gradients of a, b, the scale and the bias."""
        scale, bias = self.log_scale.exp(), self.bias
        loss, by_bias = pairs.own[0].new_zeros(2).unbind()

        def slopes(side: int) -> Iterator[Tile]:
            for rows, columns, tile in pairs.tiles(side):
                sign = 1 - 2 * pairs.positives(rows, columns).to(tile.dtype)
                tile.mul_(scale).add_(bias).mul_(sign)
                if side == 0:
                    loss.add_(F.softplus(tile).sum())
                tile.sigmoid_().mul_(sign)
                if side == 0:
                    by_bias.add_(tile.sum())
                yield rows, columns, tile

        samples = max(len(pairs), 1)
        if not wanted:
            for _ in slopes(0):
                pass
            return loss / samples, ()
        gradients = [gradient.mul_(scale / samples) for gradient in pairs.gradients(slopes)]
        # The loss knows a and the scale by their product alone, so that one gives the other's.
        by_scale = torch.linalg.vecdot(pairs.own[0], gradients[0]).sum()
        return loss / samples, [*gradients, by_scale, by_bias / samples]
