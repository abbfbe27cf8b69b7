"""Trained models that a training starts from: their options, what their modalities learnt, their weights."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium.contracts.component import Config
from sensorium.contracts.dataset import Dataset
from sensorium.contracts.parts import Encoder, given_in
from sensorium.contracts.task import Task
from sensorium.engine.checkpoint import Checkpoint, open_checkpoint
from sensorium.engine.state import load_weights
from sensorium.errors import UserError
from sensorium.experiment.parsing import component
from sensorium.paths import expanded

if TYPE_CHECKING:
    from sensorium.plugins import Plugins

BASE = "base"
"""Document of a checkpoint: encoder -> the published weights that the checkpoint leaves out, with their hash."""


def completed(data: Mapping[str, Any], plugins: Plugins) -> dict[str, Any]:
    """Returns an experiment in which each task with `weights` has the options of the trained model.

    An alias becomes the version that it stands for now, so that the run can be told again.

    Raises:
        UserError: There is no such model, or it is one of another task.
    """
    result = dict(data)
    if isinstance(data.get("model"), Mapping):
        result["model"] = _completed({**data["model"], "name": data.get("task")}, result, plugins)
        result["model"].pop("name", None)
    return result


def _completed(node: Any, experiment: dict[str, Any], plugins: Plugins) -> Any:
    if isinstance(node, (list, tuple)):
        return [_completed(item, experiment, plugins) for item in node]
    if not isinstance(node, Mapping):
        return node
    inner = {key: _completed(item, experiment, plugins) for key, item in node.items()}
    name, weights = node.get("name"), node.get("weights")
    if not isinstance(weights, str) or (name is not None and name not in plugins.names("task")):
        return inner
    from sensorium.tracking.models import resolve

    source = resolve(weights)
    task, modalities, options = (
        _model(source).entry("experiment", *each) for each in (("task", str), ("modalities", dict), ("model", dict))
    )
    if name not in (None, task):
        raise UserError(
            f"{weights} is a model of the task {task}.",
            f"Weights for {name} were expected.",
            "Take another model.",
        )
    own = experiment.get("modalities") or {}
    if not isinstance(own, Mapping):
        return inner  # which is refused in its place
    experiment["modalities"] = {**_readable(modalities, experiment, plugins), **own}
    place = str(Path(path).resolve()) if Path(path := expanded(source)).is_dir() else source
    return {"name": task, **_over(options, inner), "weights": place}


def _over(options: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a trained model's options with what an experiment says itself, also of parts that keep their name."""
    result = dict(options)
    for key, value in own.items():
        kept = result.get(key)
        part = isinstance(value, Mapping) and isinstance(kept, Mapping) and "name" not in value
        result[key] = _over(kept, value) if part else value  # type: ignore[arg-type]
    return result


def _readable(modalities: Mapping[str, Any], experiment: Mapping[str, Any], plugins: Plugins) -> dict[str, Any]:
    """Returns the trained model's modalities of the fields that the dataset has."""
    # Of an instance: which fields a manifest has, its options say.
    there = component(Dataset, experiment.get("dataset"), plugins, "dataset").build().fields
    return {field: modality for field, modality in modalities.items() if field in there}


def learnt(model: Task.Config) -> dict[str, Any]:
    """Returns field -> state of the modalities of all trained models that an experiment starts from."""
    return {
        field: state for source in _sources(model) for field, state in _model(source).document("modalities").items()
    }


def initialise(task: Task, resumed: bool = False) -> None:
    """Gives a model the weights that parts of it start from.

    Args:
        task: The model.
        resumed: Whether a checkpoint follows, which holds all but what encoders leave as it is given.

    Raises:
        UserError: They do not fit.
    """
    started = [module for module in task.modules() if isinstance(module, Task) and module.config.weights is not None]
    inner = {module for each in started for module in each.modules()}
    for module in task.modules():
        if module in inner:
            continue
        if (isinstance(module, Encoder) and module.given()) or (isinstance(module, (Encoder, Task)) and not resumed):
            module.initialise()
    for each in started:
        if given_in(each) or not resumed:
            load_weights(each, _model(str(each.config.weights)).tensors("model"), str(each.config.weights))


def _sources(node: Any) -> Iterator[str]:
    if isinstance(node, Task.Config) and node.weights is not None:
        yield node.weights
    if isinstance(node, Config) and is_dataclass(node):
        for entry in fields(node):
            yield from _sources(getattr(node, entry.name))
    elif isinstance(node, Mapping):
        for item in node.values():
            yield from _sources(item)
    elif isinstance(node, (list, tuple)):
        for item in node:
            yield from _sources(item)


def _model(source: str) -> Checkpoint:
    from sensorium.tracking.uri import default_uri

    found = open_checkpoint(_fetched(source, default_uri()))
    if (found.folder / f"{BASE}.json").is_file():
        raise UserError(
            f"{source} is a checkpoint that holds what was trained beside published weights, without these.",
            "A whole model was expected.",
            "Take the folder `model` of its run, or of the end of the training.",
        )
    return found


@lru_cache(maxsize=4)
def _fetched(source: str, store: str) -> str:
    """Returns the local folder of a model, which is downloaded once; versions of one name differ between stores."""
    from sensorium.tracking.models import fetch

    return fetch(source)
