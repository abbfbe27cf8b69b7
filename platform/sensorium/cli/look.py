"""What there is: tasks, plugins, experiments, and whether the machine can run them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer

from sensorium.api.options import warn
from sensorium.cli.options import Address, Json, print_json, row


def tasks(as_json: Json = False) -> None:
    """List the tasks that can be trained.

    Example:
        sensorium tasks --json
    """
    from sensorium.plugins import Plugins

    plugins = Plugins()
    found = {name: plugins.entries["task"][name] for name in plugins.names("task")}
    _warn_failures(plugins)
    if as_json:
        print_json({name: {"plugin": entry.plugin, "summary": entry.summary()} for name, entry in found.items()})
        return
    for name, entry in found.items():
        print(row(name, entry.summary()))


def plugins(as_json: Json = False) -> None:
    """List the plugins, and what each registers.

    Example:
        sensorium plugins --json
    """
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
            print(row(f"  {kind}", ", ".join(names), 12))
    _warn_failures(loaded)


def show(
    task: Annotated[str, typer.Argument(metavar="TASK|FILE|KIND", help="Such as clip, mine.yaml, or encoder.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(metavar="KEY.PATH=VALUE|NAME", help="Options to change; a name of KIND."),
    ] = None,
    comments: Annotated[bool, typer.Option("--comments", help="Say above each option what it means.")] = False,
    as_json: Json = False,
) -> None:
    """Print an experiment with every default, or a part's options.

    Example:
        sensorium show clip training.epochs=5
        sensorium show encoder convnet
    """
    import yaml

    from sensorium.plugins import KINDS

    if task in KINDS:
        _show_parts(task, overrides or [], as_json)
        return
    from sensorium.assembly.loading import load

    loaded = load(task, overrides or ())
    if as_json:
        print_json(loaded.plain())
    elif comments:
        from sensorium.experiment.explain import commented

        print(commented(loaded), end="")
    else:
        print(yaml.safe_dump(loaded.plain(), sort_keys=False, allow_unicode=True), end="")


def _show_parts(kind: str, given: list[str], as_json: bool) -> None:
    from sensorium.experiment.overrides import override
    from sensorium.plugins import Plugins

    listed = [item for item in given if item.startswith("plugins=")]
    loaded = Plugins(tuple(override({}, listed).get("plugins", ())))
    names = [item for item in given if item not in listed]
    if not names:
        summaries = {name: loaded.entries[kind][name].summary() for name in loaded.names(kind)}
        print_json(summaries) if as_json else print(*(row(n, text) for n, text in summaries.items()), sep="\n")
        return
    from sensorium.experiment.explain import options

    parts = {name: options(kind, name, loaded) for name in names}
    if as_json:
        print_json({name: {key: asdict(each) for key, each in found.items()} for name, found in parts.items()})
        return
    for name, found in parts.items():
        entry = loaded.entries[kind][name]
        print(row(f"{kind} {name},", f"of the plugin {entry.plugin}: {entry.summary()}", 0))
        for key, each in found.items():
            value = "required" if each.required else f"default {json.dumps(each.default, ensure_ascii=False)}"
            print(f"  {key}: {each.type}, {value}")
            print(row("", each.text, 5))


def schema() -> None:
    """Print the JSON Schema of the experiment file.

    An editor completes and checks a file by it.

    Example:
        sensorium schema > schema.json
    """
    from sensorium.experiment.schema import schema as schema_of
    from sensorium.plugins import Plugins

    print(json.dumps(schema_of(Plugins()), indent=1))


def models(as_json: Json = False) -> None:
    """List the registered models, with their versions and aliases.

    Example:
        sensorium models --json
    """
    from sensorium.tracking.models import registered

    found = registered()
    if as_json:
        print_json([asdict(each) for each in found])
        return
    if not found:
        warn("No model is registered. `sensorium train TASK tracking.register=NAME` registers one.")
    for each in found:
        aliases = f"  @{' @'.join(each.aliases)}" if each.aliases else ""
        print(f"models:/{each.name}/{each.version}  {each.task}  {each.run}{aliases}")


def doctor(address: Address = None, as_json: Json = False) -> None:
    """Say what of the machine, Ray, GPUs, MLflow and storage works.

    Example:
        sensorium doctor --address auto
    """
    from sensorium.cli.doctor import examine

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
