"""Finds losses that are not finite."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from sensorium.contracts import workers
from sensorium.errors import SensoriumError


class Watch:
    """Finds losses that are not finite, one step late, so that the device is never waited for."""

    def __init__(self) -> None:
        self._waiting: tuple[int, Mapping[str, Tensor], Mapping[str, Tensor], Sequence[str]] | None = None

    def expect(self, step: int, means: Mapping[str, Tensor], losses: Mapping[str, Tensor], ids: Sequence[str]) -> None:
        """Remembers a step for the next `check`.

        Args:
            step: Its number.
            means: Name -> mean over the global batch, the same on every worker.
            losses: Name -> this worker's losses, (B,) or a scalar.
            ids: Ids of this worker's samples.
        """
        self._waiting = (step, means, losses, ids)

    def check(self) -> None:
        """Looks at the step remembered last; every worker comes to the same end.

        Raises:
            NotFiniteError: A loss is not finite; names the step, the objective and the samples.
        """
        if self._waiting is None:
            return
        step, means, losses, ids = self._waiting
        self._waiting = None
        if math.isfinite(float(sum(means.values()))):
            return
        for name, mean in means.items():
            if not math.isfinite(float(mean)):
                culprits = workers.gather_objects(_culprits(losses[name], ids))
                raise NotFiniteError(step, name, [sample for own in culprits for sample in own])


def _culprits(loss: Tensor, ids: Sequence[str]) -> list[str]:
    bad = ~torch.isfinite(loss).cpu()
    if not bad.any():
        return []
    return [sample for sample, wrong in zip(ids, bad.tolist(), strict=True) if wrong] if loss.ndim else list(ids)


class NotFiniteError(SensoriumError):
    """A loss became infinite or not a number."""

    def __init__(self, step: int, loss: str, ids: Sequence[str]) -> None:
        shown = ", ".join(ids[:10]) + (f" and {len(ids) - 10} more" if len(ids) > 10 else "")
        super().__init__(
            f"The loss {loss!r} is not finite at step {step}, for the samples {shown}.",
            "No checkpoint was taken of it.",
            "Lower the learning rate, set training.clip_norm, or look at these samples.",
        )
        self.step, self.loss, self.ids = step, loss, list(ids)

    def __reduce__(self) -> tuple[Any, ...]:
        return NotFiniteError, (self.step, self.loss, self.ids)
