"""Options in words: those of a component, and those of a whole experiment as comments of its file."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any, get_args, get_origin, get_type_hints

import yaml

from sensorium.contracts.component import Config
from sensorium.experiment.parsing import describe, dump
from sensorium.experiment.schema import field_docs
from sensorium.experiment.settings import Loaded
from sensorium.plugins import Plugins

WIDTH = 100
"""Longest line of a comment, without its indentation."""


@dataclass(frozen=True)
class Option:
    """An option of a component.

    Attributes:
        type: What it takes, in words.
        text: What it means, with its unit.
        required: Whether an experiment has to give it.
        default: Its value otherwise, as YAML and JSON can hold it.
    """

    type: str
    text: str
    required: bool
    default: Any = None


def options(kind: str, name: str, plugins: Plugins) -> dict[str, Option]:
    """Returns the options of a component by name; those below NAME are of each entry of a mapping.

    Raises:
        UserError: There is none of that name.
    """
    return _options(plugins.find(kind, name).Config, plugins)


def _options(config: type[Config], plugins: Plugins) -> dict[str, Option]:
    hints, docs, found = get_type_hints(config), field_docs(config), {}
    for field in fields(config):  # type: ignore[arg-type]
        made = field.default_factory
        default = made() if made is not MISSING else field.default
        required = default is MISSING
        text = describe(hints[field.name])
        value = None if required else dump(default, plugins)
        found[field.name] = Option(text, docs.get(field.name, ""), required, value)
        below = f"{field.name}.NAME" if get_origin(hints[field.name]) is dict else field.name
        for inner in _without_name(hints[field.name]):
            found |= {f"{below}.{key}": option for key, option in _options(inner, plugins).items()}
    return found


def _without_name(hint: Any) -> Iterator[type[Config]]:
    """Yields the Config classes in a type that are not those of a component, which is shown by its own name."""
    if isinstance(hint, type) and issubclass(hint, Config):
        if getattr(hint, "owner", None) is None:
            yield hint
    else:
        for argument in get_args(hint):
            yield from _without_name(argument)


def commented(loaded: Loaded) -> str:
    """Returns an experiment as YAML that says above each option what it means; it loads as what it was."""
    return "\n".join(_mapping(loaded.experiment, loaded.plain(), 0)) + "\n"


def _mapping(config: Config, plain: Mapping[str, Any], depth: int) -> Iterator[str]:
    docs, indent = field_docs(type(config)), "  " * depth
    for key, value in plain.items():
        if key == "name" and key not in docs:
            yield f"{indent}{_dumped({key: value})}"
            continue
        for line in textwrap.wrap(docs.get(key, ""), WIDTH):
            yield f"{indent}# {line}"
        yield from _entry(key, getattr(config, key), value, depth)


def _entry(key: str, value: Any, plain: Any, depth: int) -> Iterator[str]:
    indent, head = "  " * depth, _dumped({key: {}}).removesuffix(" {}")
    if isinstance(value, Config) and plain:
        yield indent + head
        yield from _mapping(value, plain, depth + 1)
    elif isinstance(value, Mapping) and any(isinstance(item, Config) for item in value.values()):
        yield indent + head
        for name, item in value.items():
            yield from _entry(name, item, plain[name], depth + 1)
    elif isinstance(value, (list, tuple)) and plain and all(isinstance(item, Config) for item in value):
        yield indent + head
        for item, content in zip(value, plain, strict=True):
            yield f"{indent}-"
            yield from _mapping(item, content, depth + 1)
    else:
        yield textwrap.indent(_dumped({key: plain}), indent)


def _dumped(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=10**6).rstrip("\n")
