"""Runs the checks that apply to each component of a plugin."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from sensorium.conformance import datasets, events, losses, metrics, modalities, modules, tasks
from sensorium.conformance.finding import ContractError, Finding, InapplicableError
from sensorium.conformance.options import round_trip
from sensorium.conformance.processes import kept
from sensorium.contracts.parts import Encoder
from sensorium.errors import SensoriumError, unknown
from sensorium.modules import allowing, place
from sensorium.plugins import KINDS, Entry, Plugins

Check = Callable[[Any], str]
Tell = Callable[[str, str], None]

_MODULE: Mapping[str, Check] = {
    "shapes and masks": modules.rows_stand_alone,
    "gradients": modules.gradients_reach_every_parameter,
    "determinism": modules.follows_the_seed,
    "save and load": modules.survives_saving,
    "torch.export": modules.exports,
}
_CHECKS: Mapping[str, tuple[Callable[[type[Any], Plugins], Any], Mapping[str, Check]]] = {
    "modality": (modalities.Subject, modalities.CHECKS),
    "fusion": (modules.fusion, _MODULE),
    "decoder": (modules.decoder, _MODULE),
    "metric": (metrics.Subject, metrics.CHECKS),
    "loss": (losses.Subject, losses.CHECKS),
    "dataset": (datasets.Subject, datasets.CHECKS),
    "task": (tasks.Subject, tasks.CHECKS),
}


def examine(plugin: str, modules: tuple[str, ...] = (), tell: Tell = lambda component, check: None) -> list[Finding]:
    """Returns what the kit finds about each component that a plugin registers.

    Args:
        plugin: Its name, as `sensorium plugins` lists it, or a module that is not installed.
        modules: Further modules to load, such as one that the plugin builds on.
        tell: Hears component and check before each check, of which some take a minute.

    Raises:
        UserError: There is no such plugin.
    """
    plugins = Plugins(modules)
    if plugin not in plugins.versions and plugin not in {failure.plugin for failure in plugins.failures}:
        try:
            plugins = Plugins((*modules, plugin))
        except SensoriumError as cause:
            if "No module named" not in str(cause):
                raise
            raise unknown("plugin", plugin, plugins.versions) from cause
    for failure in plugins.failures:
        if failure.plugin == plugin:
            return [Finding(f"plugin {plugin}", "import", False, failure.cause)]
    if plugin in plugins.modules:  # which may be installed as well, under the name of its entry point
        plugin = plugins.manager.get_name(sys.modules[plugin]) or plugin
    every = [plugins.entries[kind][name] for kind in KINDS for name in plugins.names(kind)]
    with allowing(plugins.modules), kept():  # whose models are loaded again
        findings = [found for entry in every if entry.plugin == plugin for found in _findings(entry, plugins, tell)]
    if heard := events.heard(plugins, plugin):
        findings.append(_run(f"plugin {plugin}", "events", partial(events.hears_a_run, plugins, plugin, heard), tell))
    nothing = Finding(
        f"plugin {plugin}",
        "registers",
        False,
        f"No component, and it hears no event: {place(plugins.manager.get_plugin(plugin))}.",
    )
    return findings or [nothing]


def _findings(entry: Entry, plugins: Plugins, tell: Tell) -> Iterator[Finding]:
    component = plugins.find(entry.kind, entry.name)
    name = f"{entry.kind} {entry.name}"
    yield _run(name, "options", partial(round_trip, component, plugins), tell)
    if issubclass(component, Encoder):
        for form in component.takes:
            label = name if len(component.takes) == 1 else f"{name}, {form}"
            yield from _checked(label, partial(modules.encoder, component, plugins, form), _MODULE, tell)
    elif entry.kind in _CHECKS:
        prepare, checks = _CHECKS[entry.kind]
        yield from _checked(name, partial(prepare, component, plugins), checks, tell)


def _checked(name: str, prepare: Callable[[], Any], checks: Mapping[str, Check], tell: Tell) -> Iterator[Finding]:
    prepared: list[Any] = []

    def build() -> str:
        prepared.append(prepare())
        return ""

    built = _run(name, "builds", build, tell)
    if not prepared:
        yield built
    for check, function in checks.items() if prepared else ():
        yield _run(name, check, partial(function, prepared[0]), tell)


def _run(name: str, check: str, function: Callable[[], str], tell: Tell) -> Finding:
    tell(name, check)
    try:
        return Finding(name, check, True, function())
    except InapplicableError as reason:
        return Finding(name, check, None, str(reason))
    except ContractError as reason:
        return Finding(name, check, False, str(reason))
    except Exception as cause:  # noqa: BLE001 (a stranger's component may raise anything)
        return Finding(name, check, False, f"{type(cause).__name__}: {' '.join(str(cause).split())[:300]}")
