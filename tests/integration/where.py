"""A plugin for tests: each worker writes down on which node of a cluster it is."""

import os
from pathlib import Path

from sensorium import Run, hookimpl


@hookimpl
def sensorium_run_started(run: Run) -> None:
    """Writes `where-RANK` into the run's folder."""
    (Path(run.folder) / f"where-{run.rank}").write_text(os.environ["SENSORIUM_NODE"].rpartition("/")[2])
