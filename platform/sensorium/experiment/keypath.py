"""Paths to an option of an experiment: `key.path`, with keys in double quotes where they hold a dot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_PATH = re.compile(rf'(?:{_QUOTED}|[^".=]+)(?:\.(?:{_QUOTED}|[^".=]+))*')
_KEY = re.compile(rf'{_QUOTED}|[^".=]+')


def split(text: str) -> list[str] | None:
    """Returns the keys of a path such as `model.dim` or `modalities."label.v2".name`; None if it is not one.

    A quoted key is a JSON string, so that it may hold anything.
    """
    if not _PATH.fullmatch(text):
        return None
    try:
        return [json.loads(key) if key.startswith('"') else key for key in _KEY.findall(text)]
    except json.JSONDecodeError:
        return None


def assignment(text: str) -> tuple[list[str], str] | None:
    """Returns the keys and the value of `key.path=value`; None if it is not one."""
    found = _PATH.match(text)
    keys = split(found[0].strip()) if found else None
    if found is None or keys is None or not text.startswith("=", found.end()):
        return None
    return keys, text[found.end() + 1 :]


def join(keys: Iterable[str]) -> str:
    """Returns the path of keys, as `split` takes it."""
    return ".".join(map(quoted, keys))


def quoted(key: str) -> str:
    """Returns a key as it stands in a path."""
    plain = _KEY.fullmatch(key) and not key.startswith('"') and key == key.strip()
    return key if plain else json.dumps(key, ensure_ascii=False)


def named(text: str) -> tuple[str, str] | None:
    """Returns name and value of `name=value`, where a name that holds an equals sign is quoted; None if it is not one.

    The name is a single one, whatever dots it holds.
    """
    if text.startswith('"'):
        found = assignment(text)
        return (found[0][0], found[1]) if found and len(found[0]) == 1 else None
    name, equals, value = text.partition("=")
    return (name, value) if equals else None
