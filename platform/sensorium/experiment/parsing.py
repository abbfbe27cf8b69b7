"""Plain data made into the Config classes that it is meant for, and back."""

from __future__ import annotations

import json
import math
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sensorium.contracts.component import Component, Config
from sensorium.errors import UserError, unknown
from sensorium.experiment import keypath
from sensorium.plugins import Plugins


def parse(config: type[Any], data: Any, plugins: Plugins, where: str = "") -> Any:
    """Returns `data` as an instance of a Config class, with its nested components resolved."""
    if not isinstance(data, Mapping):
        raise wrong_type(where, data, "a mapping of options")
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
                raise wrong_type(where, value, "a mapping")
            return {
                str(key): _value(arguments[1], item, plugins, f"{where}.{keypath.quoted(str(key))}")
                for key, item in value.items()
            }
        if not isinstance(value, (list, tuple)):
            raise wrong_type(where, value, "a list")
        return [_value(arguments[0], item, plugins, f"{where}.{i}") for i, item in enumerate(value)]
    if not _is_finite(value):
        raise wrong_type(where, value, "finite numbers")
    if origin is Literal:  # which pydantic compares by value, so that `true` would be 1
        if not any(value == choice and type(value) is type(choice) for choice in arguments):
            raise wrong_type(where, value, describe(hint))
        return value
    try:
        return _adapter(hint).validate_json(json.dumps(value), strict=True)
    except (ValidationError, TypeError, ValueError) as cause:
        raise wrong_type(where, value, describe(hint)) from cause


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
        raise wrong_type(where, value, f"the name of {_a(kind)}, or a mapping with `name`, one of {names}")
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
        text = re.sub(r"^Optional\[(.*)\]$", r"\1 | None", text)
        return re.sub(r"\b[a-z_]\w*\.[\w.]*?(\w+)(?:\.Config)?\b(?=[],\s]|$)", r"\1", text)
    names = {"int": "a whole number", "float": "a number", "str": "a text", "bool": "true or false"}
    name = getattr(hint, "__name__", str(hint))
    return names.get(name, name)


def _a(kind: type[Component]) -> str:
    return f"{'an' if kind.kind[0] in 'aeiou' else 'a'} {kind.kind}"


def wrong_type(where: str, value: Any, expected: str) -> UserError:
    """Returns the error that an option has a value of another type."""
    return UserError(f"{where or 'The experiment'} is {value!r}.", f"Expected: {expected}.")
