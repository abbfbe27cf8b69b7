"""Measures the speed of a training."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

STEADY = 5
"""Steps after which the speed counts as steady."""


class Clock:
    """Measures samples per second without the first steps, evaluations and saves."""

    def __init__(self) -> None:
        self.steps, self.samples, self.seconds = 0, 0, 0.0
        self._last: float | None = None

    def step(self, samples: int) -> None:
        """Counts a step that ends now."""
        now = time.perf_counter()
        self.steps += 1
        if self._last is not None and self.steps > STEADY:
            self.samples += samples
            self.seconds += now - self._last
        self._last = now

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leaves out the time that is spent within."""
        began = time.perf_counter()
        yield
        if self._last is not None:
            self._last += time.perf_counter() - began

    @property
    def rate(self) -> float:
        """Samples a second, over all workers; 0 when there were too few steps."""
        return self.samples / self.seconds if self.seconds else 0.0
