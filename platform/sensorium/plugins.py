"""Finds, checks and names plugins."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from sensorium import hookspecs, modules
from sensorium.errors import SensoriumError, UserError, unknown
from sensorium.modules import GROUP

if TYPE_CHECKING:
    from sensorium.contracts.component import Component

KINDS = {
    "modality": "sensorium_modalities",
    "encoder": "sensorium_encoders",
    "fusion": "sensorium_fusions",
    "decoder": "sensorium_decoders",
    "loss": "sensorium_losses",
    "dataset": "sensorium_datasets",
    "metric": "sensorium_metrics",
    "task": "sensorium_tasks",
}
"""Kind of component -> the hook that registers it."""

OWN = {"builtin": "sensorium.builtin", "mlflow": "sensorium.tracking", "progress": "sensorium.training.progress"}
"""Plugins that are always there, registered through the same hooks as everybody else's."""


@dataclass(frozen=True)
class Entry:
    """A registered component: its class, or `module:Class` until somebody needs it."""

    kind: str
    name: str
    plugin: str
    target: type[Component] | str

    def load(self) -> type[Component]:
        """Returns the class, importing its module if need be."""
        if not isinstance(self.target, str):
            return self.target
        module, _, attribute = self.target.partition(":")
        loaded: type[Component] = getattr(importlib.import_module(module), attribute)
        return loaded

    def summary(self) -> str:
        """Returns the first line of the class's docstring, without importing its module."""
        if not isinstance(self.target, str):
            return _first_line(self.target.__doc__)
        module, _, attribute = self.target.partition(":")
        try:
            spec = importlib.util.find_spec(module)
        except ImportError:
            return ""
        if spec is None or spec.origin is None:
            return ""
        for node in ast.parse(Path(spec.origin).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and node.name == attribute:
                return _first_line(ast.get_docstring(node))
        return ""


@dataclass(frozen=True)
class Failure:
    """A plugin that could not be loaded."""

    plugin: str
    cause: str


class Plugins:
    """All loaded plugins and what they register.

    Args:
        listed: Paths of modules that are not installed, as `plugins:` of an experiment lists them.

    Raises:
        UserError: A listed module cannot be imported or registers nothing, a hook is misspelt, or a name is taken.
    """

    def __init__(self, listed: Sequence[str] = ()) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        if os.environ.get("SENSORIUM_TRACE"):
            self.manager.trace.root.setwriter(lambda text: sys.stderr.write(text))
            self.manager.enable_tracing()
        self.modules = tuple(listed)
        self.failures: list[Failure] = []
        self.versions: dict[str, str] = {}
        self._load()
        self.entries = self._collect()

    @property
    def hook(self) -> Any:
        """The hooks, to be called: `plugins.hook.sensorium_step_finished(run=..., step=...)`."""
        return self.manager.hook

    def names(self, kind: str) -> list[str]:
        """Returns the names of all components of a kind, sorted."""
        return sorted(self.entries[kind])

    def find(self, kind: str, name: str, where: str = "") -> type[Component]:
        """Returns the class of a component.

        Raises:
            UserError: There is none of that name; says the nearest.
            SensoriumError: Its module does not import.
        """
        entry = self.entries[kind].get(name)
        if entry is None:
            error = unknown(kind, name, self.entries[kind], where)
            missing = [f"The plugin {f.plugin!r} could not be loaded: {f.cause}." for f in self.failures]
            raise UserError(error.wrong, error.expected, " ".join([error.hint, *missing]).strip())
        try:
            found = entry.load()
        except KeyboardInterrupt:
            raise
        except BaseException as cause:
            raise SensoriumError(
                f"The {kind} {name!r} of the plugin {entry.plugin!r} cannot be imported:"
                f" {type(cause).__name__}: {cause}.",
                hint="Install what it needs, or mend the plugin.",
            ) from cause
        if getattr(found, "kind", None) != kind:
            raise SensoriumError(f"The plugin {entry.plugin!r} registers {found!r} as a {kind}, which it is not.")
        return found

    def name_of(self, component: type[Component]) -> str:
        """Returns the name under which a class is registered."""
        for name, entry in self.entries[component.kind].items():
            if entry.target is component or entry.target == f"{component.__module__}:{component.__qualname__}":
                return name
        raise KeyError(f"{component.__qualname__} is not registered as a {component.kind}")

    def _load(self) -> None:
        limit = os.environ.get("SENSORIUM_PLUGINS")
        wanted = None if limit is None else {name.strip() for name in limit.split(",") if name.strip()}
        for name, path in OWN.items():
            self._register(name, importlib.import_module(path))
            self.versions[name] = version("sensorium")
        points = sorted(entry_points(group=GROUP), key=lambda point: point.name)
        there = {*OWN, *(point.name for point in points)}
        for name in sorted((wanted or set()) - there):
            raise unknown("plugin", name, there, "SENSORIUM_PLUGINS")
        for point in points:
            if wanted is None or point.name in wanted:
                self._load_entry_point(point)
        for path in self.modules:
            module = modules.imported(path)
            self._register(path, module)
            if not self._hears(module):
                raise modules.idle(path, module)
            self.versions[path] = getattr(module, "__version__", "local")
        try:
            self.manager.check_pending()
        except pluggy.PluginValidationError as cause:
            raise _misspelt(cause, self.manager) from cause

    def _load_entry_point(self, point: EntryPoint) -> None:
        try:
            module = point.load()
        except KeyboardInterrupt:
            raise
        except BaseException as cause:  # noqa: BLE001 (a foreign module may raise anything, and call sys.exit)
            self.failures.append(Failure(point.name, f"{type(cause).__name__}: {cause}"))
            return
        self._register(point.name, module)
        if not self._hears(module):
            self.manager.unregister(module)
            self.failures.append(Failure(point.name, f"it registers nothing: {modules.place(module)}"))
            return
        self.versions[point.name] = point.dist.version if point.dist else "unknown"

    def _register(self, name: str, plugin: object) -> None:
        if self.manager.is_registered(plugin):
            return
        other = self.manager.get_plugin(name)
        if other is not None:
            raise UserError(
                f"Two plugins are called {name!r}: {_called(other)} and {_called(plugin)}.",
                "Names of plugins are unique.",
                "Rename the entry point of one, or uninstall it.",
            )
        for function, _ in inspect.getmembers(plugin, inspect.isroutine):
            if function.startswith("sensorium_") and self.manager.parse_hookimpl_opts(plugin, function) is None:
                raise UserError(
                    f"The plugin {name!r} has a function {function} that is not marked as a hook.",
                    "Names that begin with `sensorium_` are hooks'.",
                    "Put @sensorium.hookimpl above it, or rename it.",
                )
        try:
            self.manager.register(plugin, name)
        except pluggy.PluginValidationError as cause:
            raise _misspelt(cause, self.manager) from cause

    def _hears(self, plugin: object) -> bool:
        return bool(self.manager.get_hookcallers(plugin))

    def _collect(self) -> dict[str, dict[str, Entry]]:
        entries: dict[str, dict[str, Entry]] = {kind: {} for kind in KINDS}
        trace = self.manager.trace.root.get("hook")
        for kind, hook in KINDS.items():
            for found in sorted(getattr(self.hook, hook).get_hookimpls(), key=lambda found: found.plugin_name):
                name = found.plugin_name
                trace(f"{hook} of {name}")
                try:
                    registered: dict[str, Any] = dict(found.function())
                except KeyboardInterrupt:
                    raise
                except BaseException as cause:  # noqa: BLE001 (reported with its name; the others go on)
                    self.failures.append(Failure(name, f"{hook}: {type(cause).__name__}: {cause}"))
                    continue
                _add(entries[kind], (Entry(kind, key, name, target) for key, target in registered.items()))
        return entries


def _add(known: dict[str, Entry], new: Iterable[Entry]) -> None:
    for entry in new:
        taken = known.get(entry.name)
        if taken is not None:
            raise UserError(
                f"The plugins {taken.plugin!r} and {entry.plugin!r} both register the {entry.kind} {entry.name!r}.",
                "Names are unique.",
                "Rename one, or leave a plugin out with SENSORIUM_PLUGINS.",
            )
        known[entry.name] = entry


def _misspelt(cause: pluggy.PluginValidationError, manager: pluggy.PluginManager) -> UserError:
    name = manager.get_name(cause.plugin) or _called(cause.plugin)
    return UserError(
        f"The plugin {name!r} has a hook that does not exist or does not fit: {' '.join(str(cause).split())}.",
        f"Hooks: {', '.join(sorted(n for n in vars(hookspecs) if n.startswith('sensorium_')))}.",
        "Correct the name or the arguments of the function.",
    )


def _called(plugin: object) -> str:
    return str(getattr(plugin, "__name__", plugin))


def _first_line(doc: str | None) -> str:
    """Returns the first sentence of a docstring's first line."""
    line = doc.strip().splitlines()[0] if doc and doc.strip() else ""
    sentence = re.split(r"(?<!\bet al)\. ", line)[0]
    return f"{sentence.rstrip('.')}." if line else ""
