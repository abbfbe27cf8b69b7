"""A cell of a table as the value that a modality reads: a number, a name, tags, a vector, a path."""

from __future__ import annotations

import json
import math
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sensorium import UserError, expanded
from sensorium.builtin.values import clean, parse, shown

INLINE = ("text", "label", "vector", "number", "tags")
"""Modalities whose values stand in the table itself; a value of any other is the path of a file."""


def cell(raw: Any, modality: str, source: str, place: str) -> Any:
    """Returns what a cell of a table is to the modality that reads it.

    Args:
        raw: What stands in the cell.
        modality: Name of the modality.
        source: The table's file, whose folder paths are relative to.
        place: File, line and column, for messages.

    Raises:
        UserError: It is not a value of that modality.
    """
    if modality == "vector":
        return _vector(raw, place)
    if modality == "tags":
        return _tags(raw, place)
    if modality == "number":
        return _number(raw, place)
    if modality == "label" and isinstance(raw, int) and not isinstance(raw, bool):
        return raw
    if not isinstance(raw, str):
        kind = {"label": "a string or a whole number", "text": "a string"}.get(modality, "the path of a file, a string")
        raise UserError(f"{place} is {shown(raw)}.", f"A value for {modality} is {kind}.", "Correct the value.")
    return clean(raw) if modality in INLINE else _resolve(raw.strip(), source)


def _number(raw: Any, place: str) -> float:
    with suppress(TypeError, ValueError, OverflowError):
        number = math.nan if isinstance(raw, bool) else float(raw)
        if math.isfinite(number):
            return raw if isinstance(raw, int) else number
    raise UserError(f"{place} is not a number: {shown(raw)}.", "A finite number was expected.", "Correct the value.")


def _tags(raw: Any, place: str) -> list[str]:
    names = raw
    if isinstance(raw, str):
        names = (
            parse(raw, place, "a JSON list") if raw.lstrip().startswith("[") else raw.split(";") if clean(raw) else []
        )
    if not isinstance(names, list) or not all(isinstance(name, str) and clean(name) for name in names):
        raise UserError(
            f"{place} is not a list of tags: {shown(raw)}.",
            'Tags are a JSON list of names, such as ["red", "round"], or in CSV red;round.',
            "Correct the value.",
        )
    return [clean(name) for name in names]


def _vector(raw: Any, place: str) -> list[float]:
    with suppress(TypeError, ValueError, OverflowError, RecursionError):
        numbers = json.loads(raw) if isinstance(raw, str) else raw
        if isinstance(numbers, list) and all(type(number) in (int, float) for number in numbers):
            return [float(number) for number in numbers]
    raise UserError(
        f"{place} is not a vector: {shown(raw)}.",
        "A vector is a JSON list of numbers, such as [0.5, 1].",
        "Correct the value.",
    )


def _resolve(path: str, source: str) -> str:
    """Returns a path as it stands in the file `source`, relative to the folder of that file."""
    path, folder = expanded(path), _folder(source)
    if "://" in path or os.path.isabs(path):  # noqa: PTH117 (a table has many paths, and pathlib is slower)
        return path
    if isinstance(folder, Path):
        return str(folder / path)
    # In an address + and # mean something else than in a name.
    return f"{folder}/{quote(path) if source.startswith(('http://', 'https://')) else path}"


@cache
def _folder(source: str) -> Path | str:
    """Returns the folder of a table, local or at a URI."""
    source = expanded(source)
    return source.rpartition("/")[0] if "://" in source else Path(source).parent
