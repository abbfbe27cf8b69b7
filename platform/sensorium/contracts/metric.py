"""A metric: numbers over a whole split."""

from __future__ import annotations

from sensorium.contracts.component import Component
from sensorium.contracts.data import Rows

LESS_IS_BETTER = ("rank", "loss", "error", "distance", "perplexity")
"""How names of metrics end of which less is better; of all others more is."""


def less_is_better(name: str) -> bool:
    """Tells whether a smaller value of a metric is the better one, which its name says."""
    return name.endswith(LESS_IS_BETTER)


class Metric(Component):
    """A function of the rows of a whole split, which the first worker has of all, each sample once.

    Names of metrics of which less is better end in one of LESS_IS_BETTER.

    Attributes:
        needs: Names of the rows that it reads.
    """

    kind = "metric"
    needs: tuple[str, ...] = ()

    def __init__(self, config: Metric.Config) -> None:
        self.config = config

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns the metrics by name."""
        raise NotImplementedError

    def plots(self, rows: Rows) -> dict[str, bytes]:
        """Returns what can be seen of them: file name -> PNG."""
        return {}
