"""Records in MLflow: opened, written, ended; models stored in them and found again."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
# The recorder tries again by itself; a request that blocks for minutes would hide that from it.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

import requests
import yaml
from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import SQLAlchemyError

from sensorium.contracts.run import Run
from sensorium.experiment.keypath import quoted
from sensorium.redaction import redacted
from sensorium.tracking.keys import key
from sensorium.tracking.lock import alone
from sensorium.tracking.uri import whole

_MADE: set[str] = set()
"""Stores that this process has found whole."""
FAULTS = (MlflowException, requests.RequestException, OSError, SQLAlchemyError)
"""What MLflow raises when its store cannot be reached, or refuses."""
_LASTING = ("INVALID_PARAMETER_VALUE", "BAD_REQUEST", "PERMISSION_DENIED", "UNAUTHENTICATED", "RESOURCE_DOES_NOT_EXIST")
TAG, ERROR = "sensorium.run", "sensorium.error"
EXPERIMENT, ENVIRONMENT = "experiment.yaml", "environment.txt"
"""Artifacts of a record: what was trained, and by which versions of which packages."""
SPLIT = "mlflow.data.context"
"""Tag of a record's data that names the split."""
PLOTS = "plots"
"""Folder of the record's artifacts that holds plots: `plots/SPLIT/step-NUMBER/name.png`, with eight digits."""

for _name in ("alembic", "mlflow.store.db", "mlflow.system_metrics", "mlflow.tracking"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Record:
    """An MLflow run.

    Attributes:
        client: Speaks to its store.
        run_id: MLflow's id.
    """

    client: MlflowClient
    run_id: str


def lasting(fault: Exception) -> bool:
    """Returns whether a fault will not pass by waiting: the store was reached and refused."""
    return isinstance(fault, MlflowException) and fault.error_code in _LASTING


def refused(fault: Exception) -> bool:
    """Returns whether a server does not let this user in, or not there."""
    if isinstance(fault, requests.HTTPError) and fault.response is not None:
        return fault.response.status_code in (401, 403)
    codes = ("UNAUTHENTICATED", "PERMISSION_DENIED", "CUSTOMER_UNAUTHORIZED")
    return isinstance(fault, MlflowException) and fault.error_code in codes


def connect(uri: str) -> MlflowClient:
    """Returns a client of a store. Of processes that make a database at once MLflow breaks it: here one does."""
    address = whole(uri)
    if not address.startswith(("http://", "https://")) and address not in _MADE:
        with alone(f"store {address}"):
            MlflowClient(address).search_experiments(max_results=1)
        _MADE.add(address)
    return MlflowClient(address)


def open_record(run: Run) -> Record:
    """Returns the record that carries the run's name; makes it, with the experiment, if there is none."""
    client = connect(run.tracking["uri"])
    experiment = _experiment(client, run.tracking["uri"], run.tracking["experiment"])
    found = client.search_runs([experiment], f"tags.`{TAG}` = '{run.name}'", max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        if ERROR in found[0].data.tags:
            client.delete_tag(found[0].info.run_id, ERROR)
        if found[0].data.params:
            return Record(client, found[0].info.run_id)
    tags = {TAG: run.name, "mlflow.runName": run.name, "sensorium.seed": str(run.seed), **_commit()}
    if parent := run.tracking.get("parent"):
        tags["mlflow.parentRunId"] = parent
    record = Record(client, (found[0] if found else client.create_run(experiment, tags=tags)).info.run_id)
    labels = {"sensorium.version": version("sensorium")}
    labels |= {f"plugin.{name}": installed for name, installed in run.tracking.get("plugins", {}).items()}
    labels |= {f"skipped.{split}": str(count) for split, count in run.tracking.get("skipped", {}).items()}
    client.log_batch(record.run_id, tags=[RunTag(key(name), value) for name, value in labels.items()])
    client.log_text(record.run_id, redacted(yaml.safe_dump(dict(run.experiment), sort_keys=False)), EXPERIMENT)
    client.log_text(record.run_id, _environment(), ENVIRONMENT)
    if data := run.tracking.get("data"):
        client.log_inputs(record.run_id, _inputs(run.experiment["dataset"], data))
    parameters = [Param(key(name), redacted(str(value))[:500]) for name, value in flat(run.experiment).items()]
    for start in range(0, len(parameters), 100):
        client.log_batch(record.run_id, params=parameters[start : start + 100])
    return record


def count_experiments(uri: str) -> int:
    """Returns how many experiments a store holds; raises what MLflow raises when it cannot be reached."""
    return len(connect(uri).search_experiments())


def find(uri: str, name: str) -> Record | None:
    """Returns the record of a run by the run's name."""
    client = connect(uri)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`{TAG}` = '{name}'", max_results=1)
    return Record(client, found[0].info.run_id) if found else None


def add_metrics(record: Record, points: Sequence[tuple[str, float, float, int]]) -> None:
    """Writes (name, value, seconds since 1970, step) points in one request."""
    metrics = [Metric(name, value, int(when * 1000), step) for name, value, when, step in points]
    record.client.log_batch(record.run_id, metrics=metrics)


def histories(record: Record) -> dict[str, list[tuple[int, float]]]:
    """Returns metric -> the (step, value) points that are written of it, in order of steps."""
    names = record.client.get_run(record.run_id).data.metrics
    points = {name: record.client.get_metric_history(record.run_id, name) for name in names}
    return {name: sorted((point.step, point.value) for point in of_name) for name, of_name in points.items()}


def add_plot(record: Record, name: str, png: bytes) -> None:
    """Stores a PNG as the artifact of that path."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / Path(name).name
        path.write_bytes(png)
        record.client.log_artifact(record.run_id, str(path), name.rpartition("/")[0] or None)


def deleted(uri: str, run_id: str) -> bool:
    """Returns whether a record was deleted, which MLflow keeps until its garbage is collected."""
    return bool(connect(uri).get_run(run_id).info.lifecycle_stage == "deleted")


def recorded_experiment(uri: str, run_id: str) -> str:
    """Returns the text of a record's experiment.yaml."""
    with tempfile.TemporaryDirectory() as place:
        return Path(connect(uri).download_artifacts(run_id, EXPERIMENT, place)).read_text(encoding="utf-8")


def recorded_data(uri: str, run_id: str) -> dict[str, str]:
    """Returns split -> digest of the data that a record names."""
    inputs = connect(uri).get_run(run_id).inputs
    return {tag.value: each.dataset.digest for each in inputs.dataset_inputs for tag in each.tags if tag.key == SPLIT}


def _inputs(dataset: Any, digests: Mapping[str, str]) -> list[DatasetInput]:
    """Returns the data of a run as MLflow shows them: an input for each split."""
    options = dataset if isinstance(dataset, Mapping) else {"name": dataset}
    source = redacted(json.dumps(options))
    return [
        DatasetInput(Dataset(str(options["name"]), digest, "sensorium", source), [InputTag(SPLIT, split)])
        for split, digest in digests.items()
    ]


def last_plots(uri: str, run_id: str) -> dict[str, bytes]:
    """Returns `SPLIT/name` -> PNG of the last evaluation of each split, and what stands beside them."""
    client, found = connect(uri), dict[str, bytes]()
    with tempfile.TemporaryDirectory() as place:
        if not client.list_artifacts(run_id, PLOTS):
            return {}
        root = Path(client.download_artifacts(run_id, PLOTS, place))
        for path in sorted(path for path in root.iterdir() if path.is_file()):
            found[path.stem] = path.read_bytes()
        for split in sorted(path for path in root.iterdir() if path.is_dir()):
            last = max(split.glob("step-*"))  # numbers have leading zeros
            found |= {
                f"{split.name}/{path.relative_to(last).with_suffix('')}": path.read_bytes()
                for path in sorted(last.rglob("*.png"))
            }
    return found


def end(record: Record, status: str, error: str = "") -> None:
    """Ends the record as FINISHED, FAILED or KILLED."""
    if error:
        record.client.set_tag(record.run_id, ERROR, redacted(error)[:4000])
    record.client.set_terminated(record.run_id, status)


def system_metrics(record: Record) -> Callable[[], dict[str, float]]:
    """Returns a function that samples processor, memory, disk, network and GPUs, under MLflow's names.

    MLflow's own thread is not started: it ends for good when the store is away once.
    """
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(record.run_id, tracking_uri=record.client.tracking_uri)

    def sample() -> dict[str, float]:
        monitor.collect_metrics()
        metrics = monitor.aggregate_metrics()
        for each in monitor.monitors:
            each.clear_metrics()
        return {f"system/{name}": float(value) for name, value in metrics.items()}

    return sample


def flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns nested options as `key.path` -> value."""
    result: dict[str, Any] = {}
    for name, value in tree.items():
        place = f"{prefix}{quoted(str(name))}"
        if isinstance(value, Mapping) and value:
            result |= flat(value, f"{place}.")
        else:
            result[place] = json.dumps(value) if isinstance(value, (list, dict)) else value
    return result


def _experiment(client: MlflowClient, uri: str, name: str) -> str:
    found = client.get_experiment_by_name(name)
    if found is not None:
        return str(found.experiment_id)
    place = None
    if uri.startswith("sqlite:///"):
        file = uri.removeprefix("sqlite:///").partition("?")[0].removeprefix("file:")
        place = (Path(file).resolve().parent / "mlartifacts").as_uri()
    try:
        return str(client.create_experiment(name, artifact_location=place))
    except MlflowException:  # another run was faster
        found = client.get_experiment_by_name(name)
        if found is None:
            raise
        return str(found.experiment_id)


def _commit() -> dict[str, str]:
    if sent := os.environ.get("SENSORIUM_COMMIT"):  # a job's folder is not a repository
        return {"mlflow.source.git.commit": sent}
    try:
        commit, changes = (_git(*words) for words in (("rev-parse", "HEAD"), ("status", "--porcelain")))
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"mlflow.source.git.commit": commit, **({"sensorium.uncommitted": "true"} if changes else {})}


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], capture_output=True, text=True, timeout=5, check=True).stdout.strip()


def _environment() -> str:
    """Returns the installed packages, a line each, as `pip install -r` takes them."""
    found = {each.name.lower(): f"{each.name}=={each.version}" for each in distributions() if each.name}
    return "\n".join(found[name] for name in sorted(found)) + "\n"
