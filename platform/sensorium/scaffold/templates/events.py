"""Writes the metrics of each evaluation to `metrics.csv` in the run's folder."""

import csv
from pathlib import Path

from sensorium import Evaluation, Run, hookimpl


@hookimpl
def sensorium_evaluated(run: Run, evaluation: Evaluation) -> None:
    """Adds a line for each metric: step, split, name, value."""
    if run.rank != 0 or "://" in run.folder:  # workers share the folder, so one of them writes
        return
    with Path(run.folder, "metrics.csv").open("a", newline="", encoding="utf-8") as file:
        for name, value in evaluation.metrics.items():
            csv.writer(file).writerow([evaluation.step, evaluation.split, name, value])
