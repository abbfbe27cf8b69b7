"""The JSON Schema of the experiment file, so that an editor completes and checks it."""

from __future__ import annotations

import ast
import inspect
import textwrap
import types
from dataclasses import MISSING, fields
from typing import Any, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter

from sensorium.contracts.component import Config
from sensorium.contracts.task import Task
from sensorium.experiment.parsing import dump
from sensorium.experiment.settings import Experiment
from sensorium.plugins import KINDS, Plugins

Json = dict[str, Any]


def schema(plugins: Plugins) -> Json:
    """Returns the JSON Schema (draft 2020-12) of an experiment, for the plugins that are loaded."""
    definitions = {
        f"{kind}.{name}": _object(plugins.find(kind, name).Config, plugins, name)
        for kind in KINDS
        for name in plugins.names(kind)
    }
    for task in plugins.names("task"):
        definitions[f"model.{task}"] = _nameless(definitions[f"task.{task}"])
    root = _object(Experiment, plugins)
    root["properties"]["task"] = {"enum": plugins.names("task")}
    root["properties"]["model"] = {"type": "object"}
    root["required"].remove("model")
    root["allOf"] = [
        {
            "if": {"properties": {"task": {"const": task}}},
            "then": {"properties": {"model": {"$ref": f"#/$defs/model.{task}"}}},
        }
        for task in plugins.names("task")
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Sensorium experiment",
        **root,
        "$defs": definitions,
    }


def field_docs(config: type[Any]) -> dict[str, str]:
    """Returns field -> the docstring below it, of a Config class and its bases."""
    docs: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if not (issubclass(base, Config) and inspect.get_annotations(base)):
            continue
        node = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(node, ast.ClassDef)
        for field, after in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                text = after.value.value if isinstance(after.value, ast.Constant) else ""
                if isinstance(field.target, ast.Name) and isinstance(text, str):
                    docs[field.target.id] = " ".join(text.split())
    return docs


def _object(config: type[Any], plugins: Plugins, name: str | None = None) -> Json:
    hints, docs = get_type_hints(config), field_docs(config)
    properties: Json = {} if name is None else {"name": {"const": name}}
    required = [] if name is None else ["name"]
    for field in fields(config):
        entry = _type(hints[field.name], plugins)
        if field.name in docs:
            entry["description"] = docs[field.name]
        if field.default is not MISSING:
            entry["default"] = dump(field.default, plugins)
        elif field.default_factory is MISSING:
            required.append(field.name)
        properties[field.name] = entry
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _nameless(task: Json) -> Json:
    """Returns a task's options without its name; with `weights` none of them has to be there."""
    options = {**task, "properties": {key: each for key, each in task["properties"].items() if key != "name"}}
    needed = [key for key in options.pop("required") if key != "name"]
    return {**options, "if": {"not": _TRAINED}, "then": {"required": needed}}


_TRAINED: Json = {"type": "object", "properties": {"weights": {"type": "string"}}, "required": ["weights"]}
"""An inner task that is trained already: all options that are left out are its own."""


def _type(hint: Any, plugins: Plugins) -> Json:
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and issubclass(hint, Config):
        owner = getattr(hint, "owner", None)
        if owner is None:
            return _object(hint, plugins)
        names = plugins.names(owner.kind)
        known = [{"enum": names}, *({"$ref": f"#/$defs/{owner.kind}.{name}"} for name in names)]
        return {"anyOf": [*known, *([_TRAINED] if owner is Task else [])]}
    if origin in (Union, types.UnionType):
        return {"anyOf": [{"type": "null"} if item is type(None) else _type(item, plugins) for item in arguments]}
    if origin is dict and isinstance(arguments[1], type) and issubclass(arguments[1], Config):
        return {"type": "object", "additionalProperties": _type(arguments[1], plugins)}
    if origin is list and isinstance(arguments[0], type) and issubclass(arguments[0], Config):
        return {"type": "array", "items": _type(arguments[0], plugins)}
    return TypeAdapter(hint).json_schema()
