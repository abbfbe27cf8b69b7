"""Plugins that travel to a cluster which has none of them installed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import Distribution, entry_points
from pathlib import Path

from sensorium.modules import GROUP
from sensorium.plugins import Plugins


def packages(plugins: Plugins) -> list[str]:
    """Returns the files and folders by which workers get the same plugins, for `py_modules`.

    An installed plugin takes the folder of its metadata along, so that its entry point is found.
    What is packaged with Sensorium itself stays: the cluster has it.
    """
    paths: set[Path] = set()
    for point in entry_points(group=GROUP):
        if point.name in plugins.versions and point.dist is not None and point.dist.name != "sensorium":
            paths |= set(_distribution(point.dist, point.module))
    for name in plugins.modules:
        paths |= set(_module(name.partition(".")[0]))
    return sorted(str(path) for path in paths)


def _distribution(dist: Distribution, module: str) -> Iterator[Path]:
    files = [Path(str(file)) for file in dist.files or ()]
    inside = {file.parts[0] for file in files if file.parts[0] not in ("..", "__pycache__")}
    for name in inside:
        path = Path(str(dist.locate_file(name)))
        if path.is_dir() or (path.suffix == ".py" and not name.startswith("__editable__")):
            yield path
    yield from _module(module.partition(".")[0])  # which lies elsewhere when it is installed for editing


def _module(name: str) -> Iterator[Path]:
    spec = importlib.util.find_spec(name)
    if spec is not None and spec.origin is not None:
        origin = Path(spec.origin)
        yield origin.parent if spec.submodule_search_locations else origin
