"""The experiment file: read, checked against the plugins, written back."""

from __future__ import annotations

import importlib
import json
import math
import os
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sensorium import keypath, trained
from sensorium.contracts.component import Component, Config
from sensorium.contracts.dataset import Dataset
from sensorium.contracts.modality import Modality
from sensorium.contracts.task import Task
from sensorium.engine.settings import Evaluation, Training
from sensorium.errors import UserError, unknown
from sensorium.paths import expanded
from sensorium.plugins import Plugins
from sensorium.search import Search
from sensorium.tracking.uri import confided
from sensorium.yamls import parse_value, parse_yaml

STEPS = "SENSORIUM_STEPS"
"""Caps the steps of each stage of every training, so that the commands of a document take seconds."""


class Tracking(Config):
    """Where the run is recorded."""

    uri: str | None = None
    """MLflow store or server; None takes MLFLOW_TRACKING_URI, or mlflow.db in the working folder."""
    experiment: str = "sensorium"
    """MLflow experiment."""
    register: str | None = None
    """Name under which the model is registered; None registers none."""
    every: int = 1
    """Optimizer steps between recorded ones."""
    system: bool = True
    """Whether processor, memory and GPU use are recorded."""

    def __post_init__(self) -> None:
        if not self.experiment.strip():
            raise ValueError("experiment is the name of an MLflow experiment, not empty")
        if self.every < 1:
            raise ValueError(f"every must be at least 1, not {self.every}")
        name = self.register
        if name is not None and (not name.strip() or "/" in name or ":" in name or name in (".", "..")):
            raise ValueError(f"register is {name!r}; a registered model has a name without / and :")


class Run(Config):
    """Where and with what the run is executed."""

    seed: int = 0
    """Seed of order, initial weights and augmentation."""
    workers: int | tuple[int, int] = 1
    """Number of training processes; [least, most] lets Ray go on with fewer and grow again."""
    resources: dict[str, float] = field(default_factory=dict)
    """Resources of each worker, as Ray names them: CPU (cores), GPU (devices), …"""
    parallel: Literal["ddp", "fsdp"] = "ddp"
    """Whether each worker holds the whole model, or a shard of it."""
    threads: int = 4
    """Threads that read and decode samples, for each worker; 0 reads between the steps, on no core of its own."""
    storage: str = "runs"
    """Folder, or fsspec URI, below which runs are kept."""
    max_failures: int = 3
    """Restarts from the last checkpoint after workers or nodes were lost."""
    timeout: float = 60.0
    """Seconds after which a worker that answers nothing, or a collective, counts as hung."""

    def __post_init__(self) -> None:
        least, most = (self.workers, self.workers) if isinstance(self.workers, int) else self.workers
        if not 1 <= least <= most:
            raise ValueError("workers must be at least 1, and the least no more than the most")
        if self.threads < 0 or self.timeout <= 0:
            raise ValueError("threads must not be negative, and timeout above 0")


class Experiment(Config):
    """Everything that decides a run."""

    task: str
    """Name of the task."""
    dataset: Dataset.Config
    """Where samples come from."""
    modalities: dict[str, Modality.Config]
    """Field of the samples -> the kind of data it is."""
    model: Task.Config
    """The task's own options, with the parts it joins."""
    plugins: tuple[str, ...] = ()
    """Modules to load that are not installed, as Python names them."""
    training: Training = Training()
    """How the model learns."""
    evaluation: Evaluation = Evaluation()
    """How the model is measured."""
    run: Run = Run()
    """Where and with what the run is executed."""
    tracking: Tracking = Tracking()
    """Where the run is recorded."""
    search: Search = Search()
    """What `sensorium tune` tries; a single training takes no notice of it."""


@dataclass(frozen=True)
class Loaded:
    """An experiment with the plugins that it was checked against."""

    experiment: Experiment
    plugins: Plugins

    def plain(self) -> dict[str, Any]:
        """Returns the experiment as what YAML and JSON can hold, with nothing left to defaults."""
        plain: dict[str, Any] = dump(self.experiment, self.plugins)
        plain["model"].pop("name", None)
        return plain


def load(source: str, overrides: Sequence[str] = (), plugins: Plugins | None = None) -> Loaded:
    """Reads a task's default experiment, or a file, with `key.path=value` put over it.

    Raises:
        UserError: A name, a key or a type is wrong; says where and what would be right.
    """
    own = override({}, [item for item in overrides if item.partition("=")[0].strip() == "plugins"])
    plugins = _with_modules(plugins or Plugins(), own)  # before the task is looked for, which may be one of theirs
    data = override(read(source, plugins), [*_shortened(), *overrides])
    plugins = _with_modules(plugins, data)
    return check(trained.completed(data, plugins), plugins)


def _shortened() -> list[str]:
    """Returns the override that the variable SENSORIUM_STEPS stands for."""
    steps = os.environ.get(STEPS)
    if not steps:
        return []
    if not steps.isdecimal() or not int(steps):
        raise UserError(f"{STEPS} is {steps!r}.", "It is the most steps that each stage takes.", "Set or unset it.")
    return [f"training.steps={steps}"]


def read(source: str, plugins: Plugins) -> dict[str, Any]:
    """Returns the content of an experiment file, or of a task's default experiment, unchecked."""
    path = Path(expanded(source))
    if path.suffix in (".yaml", ".yml", ".json") or path.is_file():
        if not path.is_file():
            raise UserError(
                f"The experiment file {source!r} does not exist.",
                hint="Check the path and the folder you are in.",
            )
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError as cause:
            raise UserError(f"{source} is not text in UTF-8: {cause.reason}.", "Experiments are YAML files.") from cause
        return dict(parse_yaml(text, source))
    file = default_file(source, plugins)
    if file is None:
        return {"task": source, **plugins.find("task", source).experiment}  # type: ignore[attr-defined]
    return {"task": source, **parse_yaml(file.read_text(encoding="utf-8"), str(file))}


def default_file(task: str, plugins: Plugins) -> Path | None:
    """Returns the file with a task's default experiment; None where its class holds it."""
    found = plugins.find("task", task)
    assert issubclass(found, Task)
    if not isinstance(found.experiment, str):
        return None
    module = importlib.import_module(found.__module__)
    assert module.__file__ is not None
    return Path(module.__file__).with_name(found.experiment)


def check(data: Mapping[str, Any], plugins: Plugins) -> Loaded:
    """Returns plain data as a checked experiment.

    Raises:
        UserError: A name, a key or a type is wrong; says where and what would be right.
    """
    plugins = _with_modules(plugins, data)
    name = data.get("task")
    if not isinstance(name, str):
        raise UserError(
            "The experiment names no task.",
            f"`task:` is one of {', '.join(plugins.names('task'))}.",
            "Add it.",
        )
    plugins.find("task", name, "task")
    model = data.get("model") or {}
    if not isinstance(model, Mapping):
        raise _wrong_type("model", model, "a mapping of options")
    named = {**data, "model": {**model, "name": name}}
    experiment = parse(Experiment, named, plugins)
    if uri := experiment.tracking.uri:
        experiment = replace(experiment, tracking=replace(experiment.tracking, uri=confided(uri)))
    return Loaded(experiment, plugins)


def _with_modules(plugins: Plugins, data: Mapping[str, Any]) -> Plugins:
    listed = data.get("plugins") or ()
    if not isinstance(listed, (list, tuple)) or not all(isinstance(path, str) for path in listed):
        raise _wrong_type("plugins", listed, "a list of modules, as Python names them")
    return Plugins(tuple(listed)) if listed and tuple(listed) != plugins.modules else plugins


def parse(config: type[Any], data: Any, plugins: Plugins, where: str = "") -> Any:
    """Returns `data` as an instance of a Config class, with its nested components resolved."""
    if not isinstance(data, Mapping):
        raise _wrong_type(where, data, "a mapping of options")
    known = {entry.name: entry for entry in fields(config)}
    for key in data:
        if key not in known:
            raise unknown("option", key, known, where or "the top of the experiment")
    hints: dict[str, Any] = _hints(config)  # type: ignore[arg-type]
    values = {}
    for name, entry in known.items():
        place = f"{where}.{name}" if where else name
        if name in data:
            values[name] = _value(hints[name], data[name], plugins, place)
        elif entry.default is MISSING and entry.default_factory is MISSING:
            raise UserError(f"{place} is missing.", f"It is {describe(hints[name])}.", "Add it to the experiment.")
    try:
        return config(**values)
    except ValueError as cause:
        raise UserError(f"{where or 'The experiment'} does not fit: {str(cause).rstrip('.')}.") from cause


def dump(value: Any, plugins: Plugins) -> Any:
    """Returns a configuration as plain data; components carry their `name`."""
    if isinstance(value, Config) and is_dataclass(value):
        plain = {entry.name: dump(getattr(value, entry.name), plugins) for entry in fields(value)}
        owner = getattr(type(value), "owner", None)
        return {"name": plugins.name_of(owner), **plain} if owner is not None else plain
    if isinstance(value, Mapping):
        return {key: dump(item, plugins) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [dump(item, plugins) for item in value]
    return value


def override(data: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Returns `data` with `key.path=value` put over it; values are those of `yamls.parse_value`.

    Their order does not matter: a component is named before its options are set. One that gets
    another `name` loses the options of the former one.
    """
    result: dict[str, Any] = json.loads(json.dumps(data))
    pairs = []
    for item in overrides:
        found = keypath.assignment(item)
        if found is None:
            raise UserError(
                f"{item!r} is not an override.",
                "Overrides have the form key.path=value; a key that holds a dot is quoted.",
                """Examples: training.epochs=3, 'modalities."label.v2".name=label'.""",
            )
        pairs.append((found[0], parse_value(found[1], item)))
    for keys, value in sorted(pairs, key=lambda pair: _depth(pair[0])):
        _put(result, keys, value)
    return result


def _depth(path: list[str]) -> float:
    return len(path) - 0.5 if path[-1] == "name" else len(path)


def _put(node: Any, path: list[str], value: Any) -> None:
    *parents, last = path
    for key in parents:
        place: Any = _index(node, key, path) if isinstance(node, list) else key
        child = node[place] if isinstance(node, list) else node.get(place)
        if not isinstance(child, (dict, list)):  # a text is the short form of a component
            child = node[place] = {"name": child} if isinstance(child, str) else {}
        node = child
    if isinstance(node, list):
        node[_index(node, last, path)] = value
        return
    if last == "name" and node.get("name") != value:
        node.clear()
    node[last] = value


def _index(items: list[Any], key: str, path: list[str]) -> int:
    if not key.isdigit() or int(key) >= len(items):
        raise UserError(
            f"{keypath.join(path)} does not exist: {key!r} is not a position in a list of {len(items)}.",
            "Positions count from 0.",
        )
    return int(key)


def _value(hint: Any, value: Any, plugins: Plugins, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType) and type(None) in arguments:
        if value is None:
            return None
        rest = [argument for argument in arguments if argument is not type(None)]
        return _value(rest[0] if len(rest) == 1 else Union[tuple(rest)], value, plugins, where)  # noqa: UP007
    if isinstance(hint, type) and issubclass(hint, Config):
        kind = _kind(hint)
        return parse(hint, value, plugins, where) if kind is None else component(kind, value, plugins, where)
    if _holds_config(hint):
        if origin is dict:
            if not isinstance(value, Mapping):
                raise _wrong_type(where, value, "a mapping")
            return {
                str(key): _value(arguments[1], item, plugins, f"{where}.{keypath.quoted(str(key))}")
                for key, item in value.items()
            }
        if not isinstance(value, (list, tuple)):
            raise _wrong_type(where, value, "a list")
        return [_value(arguments[0], item, plugins, f"{where}.{i}") for i, item in enumerate(value)]
    if not _is_finite(value):
        raise _wrong_type(where, value, "finite numbers")
    if origin is Literal:  # which pydantic compares by value, so that `true` would be 1
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise _wrong_type(where, value, describe(hint))
        return value
    try:
        return _adapter(hint).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError, ValueError) as cause:
        raise _wrong_type(where, value, describe(hint)) from cause


def _is_finite(value: Any) -> bool:
    """Returns whether no number in a plain value is infinite or not a number."""
    if isinstance(value, Mapping):
        return all(map(_is_finite, value.values()))
    if isinstance(value, (list, tuple)):
        return all(map(_is_finite, value))
    return not isinstance(value, float) or math.isfinite(value)


def component(kind: type[Component], value: Any, plugins: Plugins, where: str) -> Any:
    """Returns the configuration of a component that is written as its name, or as a mapping with `name`.

    Raises:
        UserError: There is no such component, or its options do not fit.
    """
    options = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping) or not isinstance(options.get("name"), str):
        names = ", ".join(plugins.names(kind.kind))
        raise _wrong_type(where, value, f"the name of {_a(kind)}, or a mapping with `name`, one of {names}")
    found = plugins.find(kind.kind, options["name"], where)
    rest = {key: item for key, item in options.items() if key != "name"}
    return parse(found.Config, rest, plugins, where)


def _kind(hint: type[Config]) -> type[Component] | None:
    return getattr(hint, "owner", None)


def _holds_config(hint: Any) -> bool:
    return any(
        (isinstance(argument, type) and issubclass(argument, Config)) or _holds_config(argument)
        for argument in get_args(hint)
    )


@cache
def _hints(config: Any) -> dict[str, Any]:
    return get_type_hints(config)


@cache
def _adapter(hint: Any) -> TypeAdapter[Any]:
    return TypeAdapter(hint)


def describe(hint: Any) -> str:
    """Returns what an option of a type takes, in words."""
    if isinstance(hint, type) and issubclass(hint, Config):
        kind = _kind(hint)
        return _a(kind) if kind else "a mapping of options"
    if get_args(hint):
        text = str(hint).replace("typing.", "").replace("Literal", "one of ")
        return re.sub(r"sensorium\.[\w.]*\.(\w+)\.Config", r"\1", text)
    names = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
    name = getattr(hint, "__name__", str(hint))
    return names.get(name, name)


def _a(kind: type[Component]) -> str:
    return f"{'an' if kind.kind[0] in 'aeiou' else 'a'} {kind.kind}"


def _wrong_type(where: str, value: Any, expected: str) -> UserError:
    return UserError(f"{where or 'The experiment'} is {value!r}.", f"Expected: {expected}.")
