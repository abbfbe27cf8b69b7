"""Trained models in MLflow: stored with signature, registered, and fetched by URI."""

from __future__ import annotations

import json
import re
import tempfile
import warnings
from collections.abc import Callable
from contextlib import nullcontext, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from sensorium.debugging import debugging
from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.paths import expanded
from sensorium.redaction import redacted

if TYPE_CHECKING:
    from sensorium.contracts.run import Run
    from sensorium.contracts.task import Task

FOLDER = "model"
LONGEST = 5000
"""Characters of a version's description that MLflow's store holds."""
Value = TypeVar("Value")


@dataclass(frozen=True)
class Stored:
    """Where a model was stored.

    Attributes:
        run_id: MLflow's id of the run.
        model_uri: `runs:/…` or, when it was registered, `models:/NAME/VERSION`.
    """

    run_id: str
    model_uri: str


@dataclass(frozen=True)
class Registered:
    """A version of a registered model.

    Attributes:
        name: Of the model.
        version: Its number.
        aliases: What stands for this version now.
        task: What it was trained for; empty where its run is gone.
        run: The run that it came from.
    """

    name: str
    version: str
    aliases: tuple[str, ...]
    task: str
    run: str


def registered() -> list[Registered]:
    """Returns all versions of all registered models, by name, the newest first.

    Raises:
        UserError: The registry cannot be asked.
    """
    from sensorium.tracking.records import FAULTS, connect
    from sensorium.tracking.uri import default_uri

    try:
        client = connect(default_uri())
        names = {model.name: model.aliases for model in client.search_registered_models(max_results=1000)}
        versions = [version for name in names for version in client.search_model_versions(_named(name))]
        runs = {version.run_id: client.get_run(version.run_id).data for version in versions if version.run_id}
    except FAULTS as cause:
        _check_server(cause)
        raise UserError(f"The registry cannot be asked: {_first(cause)}", hint="Check MLFLOW_TRACKING_URI.") from cause
    found = []
    for each in versions:
        aliases = tuple(sorted(alias for alias, of in names[each.name].items() if str(of) == str(each.version)))
        data = runs.get(each.run_id)
        task, run = (data.params.get("task", ""), data.tags.get("mlflow.runName", "")) if data else ("", "")
        found.append(Registered(each.name, str(each.version), aliases, task, run))
    return sorted(found, key=lambda each: (each.name, -int(each.version)))


def _check_server(cause: Exception) -> None:
    """Says of a store whether it was the user whom it did not let in, or whether it is down.

    Raises:
        UserError: It was, or it is.
    """
    from sensorium.engine.storage import is_away
    from sensorium.tracking.records import refused
    from sensorium.tracking.uri import default_uri, refusal

    if refused(cause):
        raise refusal(default_uri()) from cause
    if is_away(cause):
        raise UserError(
            f"The MLflow server at {default_uri()} cannot be reached.",
            "It is down, or the network between is.",
            "Try again later, or check MLFLOW_TRACKING_URI.",
        ) from cause


def _named(name: str) -> str:
    quoted = name.replace("'", "\\'")
    return f"name='{quoted}'"


def fetch(model: str) -> str:
    """Returns the local folder of MODEL: the folder itself, or a download of a URI, `runs:/…` or `models:/…`.

    Raises:
        UserError: There is no such model.
    """
    model = expanded(model)
    if "://" in model:
        return _download(model, Path(tempfile.mkdtemp(prefix="sensorium-")) / FOLDER)
    if not _recorded_there(model):
        return model
    folder = Path(_artifacts(model, "download_artifacts"))
    inner = folder / "data" / FOLDER
    return str(inner if inner.is_dir() else folder)


def check(model: str) -> None:
    """Asks MLflow for a model that it is to have, without fetching it, before other processes are started that do.

    Raises:
        UserError: There is no such model, or MLflow cannot be asked.
    """
    if _recorded_there(model):
        _artifacts(model, "list_artifacts")


def _recorded_there(model: str) -> bool:
    return model.startswith(("runs:/", "models:/"))


def _artifacts(model: str, call: str) -> Any:
    """Returns what a function of `mlflow.artifacts` says of a model.

    Raises:
        UserError: There is no such model, or MLflow cannot be asked.
    """
    import mlflow

    from sensorium.tracking.records import FAULTS
    from sensorium.tracking.uri import default_uri, whole

    mlflow.set_tracking_uri(whole(default_uri()))
    try:
        return getattr(mlflow.artifacts, call)(model)
    except FAULTS as cause:
        raise _absent(model, cause) from cause


def resolve(model: str) -> str:
    """Returns what a MODEL stands for now: `models:/NAME/VERSION` for an alias, everything else as it is.

    Raises:
        UserError: There is no such alias, or the registry cannot be asked.
    """
    if not model.startswith("models:/") or "@" not in model:
        return model
    from sensorium.tracking.records import FAULTS, connect
    from sensorium.tracking.uri import default_uri

    name, _, alias = model.removeprefix("models:/").rpartition("@")
    try:
        version = connect(default_uri()).get_model_version_by_alias(name, alias).version
    except FAULTS as cause:
        raise _absent(model, cause) from cause
    return f"models:/{name}/{version}"


def _absent(model: str, cause: Exception) -> UserError:
    """Returns the error for a model that MLflow does not have, with the nearest one that is registered.

    Raises:
        UserError: The store is down, or did not let the user in.
    """
    from sensorium.tracking.uri import default_uri

    _check_server(cause)
    expected = "Forms are runs:/RUN_ID/model, models:/NAME/VERSION and models:/NAME@ALIAS."
    hint = "Check MLFLOW_TRACKING_URI."
    if model.startswith("models:/"):
        name, every = re.split("[/@]", model.removeprefix("models:/"))[0], registered()
        own = [each for each in every if each.name == name]
        known = [
            f"models:/{name}{part}" for each in own for part in (f"/{each.version}", *map("@{}".format, each.aliases))
        ]
        if model not in known:
            error = unknown("model", model, known) if own else unknown("model", name, {each.name for each in every})
            expected, hint = error.expected, f"{error.hint} `sensorium models` lists all.".strip()
    return UserError(f"MLflow at {default_uri()} has no model {model!r}: {_first(cause)}", expected, hint)


def store(run: Run, model: str, task: Task) -> Stored:
    """Stores a run's model folder in its record, with the signature of the task, and registers it if asked.

    Raises:
        SensoriumError: MLflow refuses, or cannot be reached; says where the model lies.
    """
    from sensorium.tracking import records

    try:
        return _store(run, model, task)
    except (*records.FAULTS, UserError) as cause:
        raise SensoriumError(
            f"The training is done, but MLflow at {run.tracking['uri']} does not take the model: {_first(cause)}",
            f"The trained model lies in {model}.",
            "It can be evaluated, asked and served from there.",
        ) from cause


def _first(cause: Exception) -> str:
    """Returns the first line of what was said, as a sentence."""
    return f"{next(iter(str(cause).strip().splitlines()), type(cause).__name__).rstrip('. ')}."


def _store(run: Run, model: str, task: Task) -> Stored:
    import mlflow

    from sensorium.engine.checkpoint import CARD
    from sensorium.tracking import records
    from sensorium.tracking.uri import whole

    uri = run.tracking["uri"]
    record = records.find(uri, run.name)
    assert record is not None, "the run's record was begun by rank 0"
    mlflow.set_tracking_uri(whole(uri))
    name = run.tracking.get("register")
    with tempfile.TemporaryDirectory() as folder:
        local = _download(model, Path(folder) / FOLDER)
        with (
            warnings.catch_warnings(),
            # MLflow prints what it registers, past its loggers.
            nullcontext() if debugging() else redirect_stderr(StringIO()),
            mlflow.start_run(run_id=record.run_id, log_system_metrics=False),
        ):
            warnings.filterwarnings("ignore", ".*An input example was not provided")
            info = mlflow.pyfunc.log_model(
                name=FOLDER,
                loader_module="sensorium.inference.pyfunc",
                data_path=local,
                signature=_signature(task),
                pip_requirements=["sensorium"],
                registered_model_name=name,
            )
        version = getattr(info, "registered_model_version", None)
        card = Path(local) / CARD
        if name and version is not None and card.is_file():
            about = card.read_text(encoding="utf-8")[:LONGEST]
            mlflow.MlflowClient().update_model_version(name, str(version), about)
    return Stored(record.run_id, f"models:/{name}/{version}" if name else f"runs:/{record.run_id}/{FOLDER}")


def _download(uri: str, folder: Path) -> str:
    from sensorium.engine import storage
    from sensorium.engine.checkpoint import elsewhere

    if "://" in uri and not uri.startswith("memory://"):
        storage.check(uri, "The model")
    try:
        files, root = storage.files_at(uri)
        if strange := elsewhere(Path(root).rglob("*") if "file" in files.protocol else ()):
            raise OSError(strange)
        storage.persistent(lambda: files.get(f"{root.rstrip('/')}/", f"{folder}/", recursive=True))
    except (OSError, ValueError, ImportError) as cause:
        said = "there is nothing" if isinstance(cause, FileNotFoundError) else cause
        raise UserError(
            f"The model {uri!r} cannot be read: {said}.",
            "A model is a folder, a URI of one, runs:/… or models:/….",
            "Check the address, and your right to read it.",
        ) from cause
    return str(folder)


def experiment(run: str) -> dict[str, Any]:
    """Returns the whole experiment that a run's record holds, as it was trained.

    Args:
        run: `runs:/RUN_ID`.

    Raises:
        UserError: There is no such record, or it holds no experiment.
    """
    from sensorium.experiment.yamls import parse_yaml
    from sensorium.tracking.records import recorded_experiment

    return dict(parse_yaml(_recorded(run, recorded_experiment), run))


def data(run: str) -> dict[str, str]:
    """Returns split -> digest of the data that a run's record names; none in records of older versions.

    Args:
        run: `runs:/RUN_ID`.

    Raises:
        UserError: There is no such record.
    """
    from sensorium.tracking.records import recorded_data

    return _recorded(run, recorded_data)


def _recorded(run: str, read: Callable[[str, str], Value]) -> Value:
    from sensorium.tracking.records import FAULTS, deleted
    from sensorium.tracking.uri import default_uri

    run_id = run.removeprefix("runs:/").strip("/")
    try:
        if deleted(default_uri(), run_id):
            raise UserError(
                f"The run {run_id} of {default_uri()} was deleted.",
                "One that is there was expected.",
                f"Restore it with `mlflow runs restore --run-id {run_id}`, or name another.",
            )
        return read(default_uri(), run_id)
    except FAULTS as cause:
        _check_server(cause)
        raise UserError(
            f"MLflow at {default_uri()} has no run {run_id!r} with an experiment: {_first(cause)}",
            "The form is runs:/RUN_ID, with the id that a training prints at its end.",
            "Check MLFLOW_TRACKING_URI.",
        ) from cause


def plots(uri: str, run_id: str) -> dict[str, bytes]:
    """Returns name -> PNG of the plots of a run's end; none where there is no record.

    Raises:
        UserError: The store cannot be asked.
    """
    from sensorium.tracking.records import FAULTS, last_plots

    try:
        return last_plots(uri, run_id) if uri else {}
    except FAULTS as cause:
        _check_server(cause)
        raise UserError(
            f"The plots of run {run_id} cannot be read: {_first(cause)}", hint="Check MLFLOW_TRACKING_URI."
        ) from cause


def end(run: Run, status: str, error: str = "") -> None:
    """Ends the record of a run whose workers could not do so themselves, as FAILED or KILLED."""
    from sensorium.tracking import records

    try:
        record = records.find(run.tracking["uri"], run.name)
        if record is not None:
            records.end(record, status, error)
    except records.FAULTS as cause:
        print(redacted(f"The record of {run.name} could not be ended: {cause}"))


def _signature(task: Task) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types.schema import ColSpec, Schema

    def column(name: str, media_type: str, required: bool) -> ColSpec:
        kind = "string" if media_type.startswith(("text/", "application/json")) else "binary"
        return ColSpec(kind, name, required=required)

    inputs = [column(n, m.media_type, n not in task.optional) for n, m in task.inputs.items()]
    outputs = [column(n, m.media_type, False) for n, m in task.outputs.items()]
    return ModelSignature(Schema(inputs), Schema(outputs))


def as_text(value: Any) -> Any:
    """Returns an output as the signature types it: bytes and strings as they are, the rest as JSON."""
    return value if isinstance(value, (bytes, str)) else json.dumps(value)
