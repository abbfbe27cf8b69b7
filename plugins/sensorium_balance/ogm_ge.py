"""On-the-fly gradient modulation: the input that is ahead learns slower, and noise keeps it general.

After X. Peng, Y. Wei, A. Deng, D. Wang, D. Hu, Balanced Multimodal Learning via On-the-fly Gradient Modulation, CVPR
2022, equations 7 to 12, and the authors' code.

Shapes: B samples, C classes, K inputs.
"""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from sensorium import Batch, Stage, workers
from sensorium_balance.around import Around


class OGMGE(Around):
    """A task whose encoders learn slower while their input tells the class better than the others do."""

    experiment: ClassVar[str] = "ogm_ge.yaml"

    class Config(Around.Config):
        """How strongly."""

        alpha: float = 0.5
        """How fast an encoder is slowed down with its lead."""
        noise: bool = True
        """Whether noise as large as the gradients is added to them (GE)."""
        until: float = 1.0
        """Share of the steps after which all learn as usual."""

        def __post_init__(self) -> None:
            if self.alpha < 0 or not 0 <= self.until <= 1:
                raise ValueError("alpha is at least 0, until lies in [0, 1].")

    config: Config

    def stages(self) -> list[Stage]:
        """Returns the inner task's stages, whose gradients are balanced."""
        return [
            replace(stage, objectives=[replace(each, adjust=self.balance) for each in stage.objectives])
            for stage in self.earlier("inner")
        ]

    def balance(self, outputs: Any, batch: Batch) -> None:
        """Lessens the gradients of the encoders whose input is ahead; of weights, not of biases and normalisations."""
        if batch.progress >= self.config.until:
            return
        alone = self.inner.alone(outputs, batch)
        said = [logits.softmax(1).gather(1, alone.target[:, None]).sum() for logits in alone.logits.values()]
        shares = coefficients(workers.add(torch.stack(said)), self.config.alpha)
        for name, share in zip(alone.logits, shares, strict=True):
            for place, parameter in enumerate(self.inner.encoder_of(name).parameters()):
                gradient = parameter.grad
                if gradient is None or gradient.ndim < 2:
                    continue
                spread = deviation(gradient)
                gradient.mul_(share)
                if self.config.noise and self.config.alpha:
                    random = torch.Generator().manual_seed(batch.seed ^ zlib.crc32(f"{name}/{place}".encode()))
                    drawn = torch.randn(gradient.shape, generator=random)
                    gradient.add_(workers.cut_like(drawn, gradient) * spread)


def deviation(values: Tensor) -> Tensor:
    """Returns the standard deviation of all values, a scalar; of a tensor in shards too."""
    count = values.numel()
    first, second = workers.whole(values.sum()), workers.whole(values.square().sum())
    variance: Tensor = (second - first.square() / count) / max(count - 1, 1)
    return variance.clamp(min=0).sqrt()


def coefficients(scores: Tensor, alpha: float) -> Tensor:
    """Returns what the gradients of each encoder are multiplied by, (K,), 1 for those that are not ahead.

    Args:
        scores: (K,), sum over the global batch of the right class's probability, from each input alone.
        alpha: How fast an encoder is slowed down with its lead.
    """
    others = (scores.sum() - scores) / (len(scores) - 1)
    ahead = scores / others.clamp(min=1e-9)
    return torch.where(ahead > 1, 1 - torch.tanh(alpha * ahead), torch.ones_like(ahead))
