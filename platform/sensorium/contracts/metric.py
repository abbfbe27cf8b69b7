"""Metric: figures over a whole split."""

from __future__ import annotations

from sensorium.contracts.component import Component
from sensorium.contracts.data import Rows


class Metric(Component):
    """A function of the rows of a whole split, gathered from all workers, each sample once.

    Attributes:
        needs: Names of the rows that it reads.
    """

    kind = "metric"
    needs: tuple[str, ...] = ()

    def __init__(self, config: Metric.Config) -> None:
        self.config = config

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns the figures by name."""
        raise NotImplementedError
