"""What there is: tasks, plugins, experiments, and whether the machine can run them."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from sensorium.commands.options import Address, Json, Overrides, print_json, warn


def tasks(as_json: Json = False) -> None:
    """List the tasks that can be trained."""
    from sensorium.plugins import Plugins

    plugins = Plugins()
    found = {name: plugins.entries["task"][name] for name in plugins.names("task")}
    _warn_failures(plugins)
    if as_json:
        print_json({name: {"plugin": entry.plugin, "summary": entry.summary()} for name, entry in found.items()})
        return
    for name, entry in found.items():
        print(f"{name:20} {entry.summary()}")


def plugins(as_json: Json = False) -> None:
    """List the plugins, what each registers, and which could not be loaded."""
    from sensorium.plugins import KINDS, Plugins

    loaded = Plugins()
    table: dict[str, Any] = {name: {"version": version} for name, version in sorted(loaded.versions.items())}
    for kind in KINDS:
        for name in loaded.names(kind):
            table[loaded.entries[kind][name].plugin].setdefault(kind, []).append(name)
    failed = {failure.plugin: failure.cause for failure in loaded.failures}
    if as_json:
        print_json({"plugins": table, "failed": failed})
        return
    for name, content in table.items():
        print(f"{name} {content.pop('version')}")
        for kind, names in content.items():
            print(f"  {kind:10} {', '.join(names)}")
    _warn_failures(loaded)


def show(
    task: Annotated[str, typer.Argument(metavar="TASK|FILE")],
    overrides: Overrides = None,
    as_json: Json = False,
) -> None:
    """Print the whole experiment of a task or file, with every default written out."""
    import yaml

    from sensorium.experiment import load

    plain = load(task, overrides or ()).plain()
    if as_json:
        print_json(plain)
    else:
        print(yaml.safe_dump(plain, sort_keys=False, allow_unicode=True), end="")


def schema() -> None:
    """Print the JSON Schema of the experiment file, for an editor to complete and check it."""
    from sensorium.plugins import Plugins
    from sensorium.schema import schema as schema_of

    print(json.dumps(schema_of(Plugins()), indent=1))


def doctor(address: Address = None, as_json: Json = False) -> None:
    """Say what of the machine, Ray, GPUs, MLflow and storage works."""
    from sensorium.doctor import examine

    findings = examine(address)
    if as_json:
        print_json({finding.subject: {"ok": finding.ok, "finding": finding.text} for finding in findings})
    else:
        for finding in findings:
            print(f"{'ok  ' if finding.ok else 'FAIL'}  {finding.subject:10} {finding.text}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(1)


def _warn_failures(plugins: Any) -> None:
    for failure in plugins.failures:
        warn(f"The plugin {failure.plugin!r} could not be loaded: {failure.cause}")
