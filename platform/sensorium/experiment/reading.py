"""An experiment file: found, read, and checked against the plugins."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from sensorium.contracts.task import Task
from sensorium.errors import UserError
from sensorium.experiment import keypath
from sensorium.experiment.parsing import parse, wrong_type
from sensorium.experiment.settings import Experiment, Loaded
from sensorium.experiment.yamls import parse_yaml
from sensorium.paths import expanded
from sensorium.plugins import Plugins
from sensorium.redaction import confided, reveals


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
    plugins = with_modules(plugins, data)
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
        raise wrong_type("model", model, "a mapping of options")
    named = {**data, "model": {**model, "name": name}}
    experiment = parse(Experiment, named, plugins)
    if uri := experiment.tracking.uri:
        experiment = replace(experiment, tracking=replace(experiment.tracking, uri=confided(uri)))
    loaded = Loaded(experiment, plugins)
    _refuse_secrets(loaded.plain(), [])
    return loaded


def _refuse_secrets(data: Any, keys: list[str]) -> None:
    """Refuses an address with a password or token, which each run and model would write down; does not repeat it."""
    if isinstance(data, str) and reveals(data):
        raise UserError(
            f"{keypath.join(keys)} holds a password or token, which runs and models would write down.",
            "An address without it was expected.",
            "Storage finds its own in the environment, such as AWS_ACCESS_KEY_ID or a file like ~/.netrc.",
        )
    if isinstance(data, Mapping):
        for key, value in data.items():
            _refuse_secrets(value, [*keys, str(key)])
    elif isinstance(data, (list, tuple)):
        for index, value in enumerate(data):
            _refuse_secrets(value, [*keys, str(index)])


def with_modules(plugins: Plugins, data: Mapping[str, Any]) -> Plugins:
    """Returns the plugins together with the modules that an experiment lists."""
    listed = data.get("plugins") or ()
    if not isinstance(listed, (list, tuple)) or not all(isinstance(path, str) for path in listed):
        raise wrong_type("plugins", listed, "a list of modules, as Python names them")
    return Plugins(tuple(listed)) if listed and tuple(listed) != plugins.modules else plugins
