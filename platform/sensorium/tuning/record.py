"""The record of a search: a parent run, of which each trial's run is a child."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping

from sensorium.contracts.run import Run
from sensorium.tracking import records
from sensorium.tracking.lock import alone
from sensorium.tuning.trials import Trial, Trials

_STATUS = {"finished": "FINISHED", "failed": "FAILED"}


def begin(run: Run) -> str:
    """Returns MLflow's id of a search's record, which is made if there is none."""
    with alone(run.tracking["uri"]):
        return records.open_record(run).run_id


def settle(uri: str, trials: Trials) -> dict[int, str]:
    """Ends the records of trials whose processes could not do so themselves, and returns number -> MLflow's id.

    A trial that was stopped or interrupted ends as KILLED.
    """
    ids = {}
    for trial in trials.listed():
        with alone(trial.run):  # its writer may still be at work
            record = records.find(uri, trial.run)
        if record is not None:
            _end(record, trial)
            ids[trial.number] = record.run_id
    return ids


def _end(record: records.Record, trial: Trial) -> None:
    status = _STATUS.get(trial.status, "KILLED")
    record.client.set_tag(record.run_id, "sensorium.trial", trial.status)
    record.client.set_tag(record.run_id, "sensorium.parameters", json.dumps(trial.parameters))
    if record.client.get_run(record.run_id).info.status != status:
        records.end(record, status, trial.error)


def end(run: Run, status: str, best: tuple[str, float] | None = None, files: Mapping[str, bytes] | None = None) -> None:
    """Ends a search's record.

    Args:
        run: The search.
        status: FINISHED, FAILED or KILLED.
        best: Name and value of the metric of the best trial.
        files: File name -> content, to be kept with it.
    """
    record = records.find(run.tracking["uri"], run.name)
    assert record is not None, "it was begun"
    if best is not None:
        records.add_metrics(record, [(f"best/{best[0]}", best[1], time.time(), 0)])
    for name, content in (files or {}).items():
        records.add_plot(record, name, content)
    records.end(record, status)
