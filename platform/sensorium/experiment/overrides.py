"""`key.path=value`: options given on the command line, put over an experiment."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sensorium.errors import UserError
from sensorium.experiment import keypath
from sensorium.experiment.yamls import parse_value


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
