"""Clusters of several nodes on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from sensorium.cli.help import Command, Group
from sensorium.cli.options import Json, print_json, row
from sensorium.errors import UserError, unknown
from sensorium.paths import expanded

app = typer.Typer(
    help="Start and end Ray clusters of several nodes on this machine.\n\nExample:\nsensorium cluster status",
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command(cls=Command)
def up(file: Annotated[Path, typer.Argument(metavar="FILE", help="Such as clusters/laptop.yaml.")]) -> None:
    """Start the cluster that a file describes.

    Only who has its token can use it.

    Example:
        sensorium cluster up clusters/laptop.yaml
    """
    from sensorium.runtime import description, laptop
    from sensorium.runtime.listening import beyond_loopback, told

    cluster = laptop.start(description.read(file))
    print(f"cluster  {cluster.name}, {len(cluster.members)} nodes")
    print(f"address  {cluster.address}")
    print(f"jobs     {cluster.jobs}")
    print(f"token    {cluster.token}")
    print(row("listens", told(beyond_loopback(cluster.processes())), 8))
    print(f"go on    sensorium train clip --workers 2 --address {cluster.name}")
    print(f"         sensorium submit --address {cluster.name} -- train clip --workers 2")
    print(f"         sensorium cluster down {cluster.name}")


@app.command(cls=Command)
def down(
    name: Annotated[str | None, typer.Argument(metavar="FILE|NAME", help="The only one, if not given.")] = None,
) -> None:
    """End a cluster: all of its processes, and nothing else.

    Example:
        sensorium cluster down laptop
    """
    from sensorium.runtime import laptop

    cluster = _named(name)
    ended = len(cluster.processes())
    cluster.stop()
    left = cluster.processes()
    assert not left
    print(f"{cluster.name} is down, {ended} processes ended")
    for other in laptop.clusters():
        print(f"{other.name} is still up")


@app.command(cls=Command)
def status(as_json: Json = False) -> None:
    """List the clusters that were started on this machine.

    Example:
        sensorium cluster status --json
    """
    from sensorium.runtime import laptop

    table: dict[str, Any] = {
        cluster.name: {
            "address": cluster.address,
            "jobs": cluster.jobs,
            "token": str(cluster.token),
            "nodes": {name: len(cluster.processes(name)) for name in cluster.members},
            "alive": cluster.alive(),
        }
        for cluster in laptop.clusters()
    }
    if as_json:
        print_json(table)
        return
    if not table:
        print("No cluster was started here. `sensorium cluster up FILE` starts one.")
    for name, entry in table.items():
        print(f"{name:16} {entry['alive']} of {len(entry['nodes'])} nodes  {entry['address']}  {entry['jobs']}")
        for node, processes in entry["nodes"].items():
            print(f"  {node:14} {processes} processes")


def _named(name: str | None) -> Any:
    from sensorium.runtime import description, laptop

    known = {cluster.name: cluster for cluster in laptop.clusters()}
    if name is None and len(known) == 1:
        return next(iter(known.values()))
    if name is None:
        raise UserError(
            "Several clusters are up." if known else "No cluster was started here.",
            f"Known: {', '.join(known)}." if known else "",
            "Name one." if known else "",
        )
    if name not in known and Path(expanded(name)).is_file():
        name = description.read(Path(name)).name
    if name not in known:
        raise unknown("cluster", name, known)
    return known[name]
