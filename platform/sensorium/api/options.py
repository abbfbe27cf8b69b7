"""Options as Python has them, and what is said while something is done."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from os import PathLike
from typing import Any

from sensorium.errors import UserError

WIDTH = 80
"""Columns of a screen."""


def overrides(options: Mapping[str, Any] | None) -> list[str]:
    """Returns `key.path` -> value as the command line writes it, `key.path=value`.

    Raises:
        UserError: They are not a mapping, or a value is not plain data.
    """
    if options is not None and not isinstance(options, Mapping):
        raise UserError(
            f"Options are {type(options).__name__}.", "A mapping was expected.", 'Such as {"training.epochs": 3}.'
        )
    return [f"{key}={_written(key, value)}" for key, value in (options or {}).items()]


def named(what: str, value: object) -> str:
    """Returns a name, or a path as text.

    Raises:
        UserError: It is neither.
    """
    text = value.__fspath__() if isinstance(value, PathLike) else value
    if not isinstance(text, str):
        raise UserError(f"{what} is {shown(value)}.", "A name or a path was expected.")
    return text


def modules(plugins: Sequence[str]) -> str:
    """Returns names of modules as `allow` takes them.

    Raises:
        UserError: They are not a list of names.
    """
    if isinstance(plugins, str) or not all(isinstance(name, str) for name in plugins):
        raise UserError(f"plugins is {shown(plugins)}.", "A list of modules was expected.", 'Such as ["row_reader"].')
    return ",".join(plugins)


def shown(value: object) -> str:
    """Returns a value as messages show it, cut to what a person reads."""
    text = repr(value)
    return text if len(text) <= WIDTH else f"{text[:WIDTH]}…"


def warn(text: str) -> None:
    """Prints a sentence on standard error."""
    print(text, file=sys.stderr)


def _written(key: str, value: Any) -> str:
    try:
        return json.dumps(value, ensure_ascii=False, default=_path)
    except (TypeError, ValueError) as cause:
        raise UserError(
            f"The option {key} is {type(value).__name__}, which an experiment cannot hold: {cause}.",
            "Options are numbers, texts, true or false, None, lists and mappings of them.",
        ) from cause


def _path(value: Any) -> str:
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not plain data")
