"""Plugins of one's own: begun from a template, and held to the contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.api.options import warn
from sensorium.cli.help import Command, Group
from sensorium.cli.options import Json, print_json

app = typer.Typer(
    help="Begin a plugin, or check one.\n\nExample:\nsensorium plugin new digit_reader --kind task",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(cls=Command)
def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the plugin, in small letters.")],
    kind: Annotated[
        str,
        typer.Option(metavar="KIND", help="task, encoder, fusion, decoder, loss, dataset, modality, metric or events."),
    ] = "task",
    folder: Annotated[Path, typer.Option(metavar="FOLDER", help="Folder in which the package is made.")] = Path(),
) -> None:
    """Write a package that registers a component, with its tests.

    Example:
        sensorium plugin new digit_reader --kind task
    """
    from sensorium.scaffold.new import write

    made = write(name, kind, folder)
    print(f"Written: {', '.join(str(path) for path in sorted(made.iterdir()))}")
    print(f"test     cd {made} && sensorium plugin check sensorium_{name}")
    print(f"install  pip install -e {made}")


@app.command(cls=Command)
def check(
    name: Annotated[str, typer.Argument(metavar="PLUGIN", help="A plugin's name, or its module if not installed.")],
    module: Annotated[
        list[str] | None, typer.Option(metavar="MODULE", help="Further module to load; may be repeated.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Hold a plugin to its contract, and print a table.

    Example:
        sensorium plugin check sensorium_digit_reader
    """
    from sensorium.conformance import examine

    findings = examine(name, tuple(module or ()), lambda component, check: warn(f"{component}: {check} …"))
    failed = [finding for finding in findings if finding.ok is False]
    if as_json:
        print_json(
            {
                "plugin": name,
                "ok": not failed and any(finding.ok for finding in findings),
                "findings": [asdict(finding) for finding in findings],
            }
        )
    else:
        _print_table(findings)
        held = sum(finding.ok is True for finding in findings)
        print(f"{held} checks hold, {len(failed)} fail, {len(findings) - held - len(failed)} do not apply.")
    if failed or not any(finding.ok for finding in findings):
        raise typer.Exit(1)


@app.command(cls=Command)
def hooks() -> None:
    """Print the reference of all hooks, in Markdown.

    Example:
        sensorium plugin hooks > HOOKS.md
    """
    from sensorium.scaffold.reference import reference

    print(reference(), end="")


def _print_table(findings: Sequence[Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("component", "check", "", "what was seen")
    signs = {True: "ok", False: "FAIL", None: "-"}
    for finding in findings:
        table.add_row(finding.component, finding.check, signs[finding.ok], finding.text)
    Console(width=None if Console().is_terminal else 160).print(table)
