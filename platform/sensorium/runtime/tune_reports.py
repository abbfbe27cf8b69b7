"""What a trial tells the search of its evaluations, and when. Pure policy: it imports no Ray."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium.errors import unknown

Report = dict[str, Any]


class Judge:
    """Makes reports of a trial's evaluations on the split that it is judged by.

    The last one, when all steps are done, is left to the end of the run: whoever stopped a trial
    there would lose its model for nothing.

    Args:
        metric: Metric that the trial is judged by.
        epochs: Epochs of the whole trial.
        after_checkpoint: Whether a report waits until a checkpoint holds what was evaluated, so
            that a trial that is paused or copied on it has lost nothing.
        split: Name of the split.
    """

    def __init__(self, metric: str, epochs: int, after_checkpoint: bool, split: str) -> None:
        self.metric, self.epochs, self.after_checkpoint, self.split = metric, epochs, after_checkpoint, split
        self._waiting: list[tuple[int, Report]] = []

    def evaluated(self, split: str, step: int, steps: int, metrics: Mapping[str, float]) -> Report | None:
        """Returns what to report of an evaluation now.

        Raises:
            UserError: There is no such metric.
        """
        if split != self.split or step >= steps:
            return None
        report = self.report(round(self.epochs * step / steps), metrics)
        if not self.after_checkpoint:
            return report
        self._waiting.append((step, report))
        return None

    def saved(self, step: int) -> Report | None:
        """Returns what to report now that the checkpoint of a step is complete."""
        covered = [report for evaluated, report in self._waiting if evaluated <= step]
        self._waiting = [(evaluated, report) for evaluated, report in self._waiting if evaluated > step]
        return covered[-1] if covered else None

    def report(self, epoch: int, metrics: Mapping[str, float]) -> Report:
        """Returns the report of metrics that were seen after so many epochs.

        Raises:
            UserError: The metric that the trial is judged by is not among them.
        """
        if self.metric not in metrics:
            raise unknown("metric", self.metric, metrics, "search.metric")
        return {"epoch": epoch, "objective": float(metrics[self.metric]), "metrics": dict(metrics)}
