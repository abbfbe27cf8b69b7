"""Jobs on a cluster: sending a command there, and looking after it."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from sensorium.api.options import warn
from sensorium.cli.options import Json, print_json, told_apart
from sensorium.errors import UserError
from sensorium.paths import expanded
from sensorium.secrets import check_address

Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="http://HOST:8265, or the name of a cluster started here; the only one if not given."
    ),
]
JobId = Annotated[str, typer.Argument(metavar="ID", help="As `sensorium jobs` lists it.")]


def submit(
    context: typer.Context,
    command: Annotated[list[str], typer.Argument(metavar="-- COMMAND", help="What to run there, and its options.")],
    address: Cluster = None,
    wait: Annotated[bool, typer.Option("--wait/--detach", help="Whether to show its log and end as it ends.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List what would travel, and ask no cluster.")] = False,
    as_json: Json = False,
) -> None:
    """Run a command on a cluster, with the files of this folder.

    Example:
        sensorium submit -- train clip --workers 4
    """
    from sensorium.runtime import working_dir
    from sensorium.runtime.address import is_here
    from sensorium.runtime.jobs import Jobs

    for argument in command:
        check_address(argument, "An address in the command")
    options = _parsed(command, context.find_root().command)
    if dry_run:
        _show(working_dir.choose(Path.cwd(), _named(options)), as_json)
        return
    jobs = Jobs(address)
    here, folder = is_here(jobs.address), Path.cwd()
    arguments, variables = [*command], working_dir.variables()
    named: list[Path] = []
    if "task" in options:
        added, named, places = _checked(options, folder, here)
        arguments += added
        variables |= places
    if "address" in options and options["address"] is None:
        arguments += ["--address", "auto"]
    if sha := working_dir.commit(folder):
        variables["SENSORIUM_COMMIT"] = sha
    left = {name for name in os.environ if name.startswith(("MLFLOW_", "SENSORIUM_API"))} - set(working_dir.variables())
    for name in sorted({*working_dir.credentials(), *left}):
        warn(f"{name} does not travel with a job: set it on the cluster's nodes.")
    choice = working_dir.choose(folder, named)
    for path in choice.withheld:
        warn(f"{path} looks like a secret and stays here.")
    with tempfile.TemporaryDirectory() as scratch:
        files = Path(scratch) / "files.zip"
        count = working_dir.pack(choice, files)
        job = jobs.submit(arguments, files, variables)
    if not wait:
        if as_json:
            print_json({"job": job, "address": jobs.address})
            return
        print(f"job      {job}, with {count} files")
        print(f"go on    sensorium logs {job} --follow --address {jobs.address}")
        return
    warn(f"job {job} at {jobs.address}, with {count} files")
    _wait(jobs, job, as_json)


def jobs(address: Cluster = None, as_json: Json = False) -> None:
    """List the jobs of a cluster.

    Example:
        sensorium jobs --address laptop
    """
    from sensorium.runtime.jobs import Jobs

    found = Jobs(address).all()
    if as_json:
        print_json([asdict(job) for job in found])
        return
    for job in found:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(job.began)) if job.began else ""
        print(f"{job.id:28} {job.status:10} {began:20} {job.command}")


def logs(
    job: JobId,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until it ends, and end as it ends.")] = False,
    address: Cluster = None,
) -> None:
    """Print what a job has printed.

    Example:
        sensorium logs raysubmit_8d2f --follow
    """
    from sensorium.runtime.jobs import Jobs

    found = Jobs(address)
    if follow:
        _wait(found, job, as_json=False)
    else:
        _write(found.logs(job), sys.stdout)


def stop(job: JobId, address: Cluster = None) -> None:
    """Stop a job.

    Example:
        sensorium stop raysubmit_8d2f
    """
    from sensorium.runtime.jobs import Jobs

    ended = Jobs(address).stop(job)
    print(f"{ended.id} {ended.status}")


def _wait(jobs: Any, job: str, as_json: bool) -> None:
    from sensorium.runtime.jobs import check_ended_well, exit_status

    try:
        ended = jobs.follow(job, lambda text: _write(text, sys.stderr if as_json else sys.stdout))
    except KeyboardInterrupt:
        if _asked_to_stop(job):
            print(f"{job} {jobs.stop(job).status}")
        else:
            warn(f"The job {job} goes on: sensorium logs {job} --follow, or sensorium stop {job}")
        raise typer.Exit(130) from None
    check_ended_well(ended)
    if as_json:
        print_json({"job": ended.id, "status": ended.status, "exit_status": exit_status(ended)})
    raise typer.Exit(exit_status(ended))


def _asked_to_stop(job: str) -> bool:
    """Asks whether an interruption is meant for the job as well; without a terminal it is not."""
    if not _is_terminal():
        return False
    try:
        return typer.confirm(f"\nStop the job {job}? If not, it goes on without you.", default=False, err=True)
    except (KeyboardInterrupt, typer.Abort):
        return False


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


def _write(text: str, stream: TextIO) -> None:
    from sensorium.runtime.internals import of_job

    print(of_job(text), end="", file=stream, flush=True)


def _parsed(command: Sequence[str], group: Any) -> dict[str, Any]:
    """Returns the options of a command as the command line, the group of all commands, reads them."""
    name, *arguments = command[1:] if command[0] == "sensorium" else command
    if name in ("submit", "jobs", "logs", "stop", "cluster"):
        raise UserError(f"`{name}` is not run on a cluster.", "Such as: sensorium submit -- train clip --workers 4.")
    context = group.make_context("sensorium", [name, *arguments])
    found = group.resolve_command(context, [name])[1]
    options: dict[str, Any] = found.make_context(name, arguments, parent=context).params
    if "resume" in options:
        task, overrides = told_apart(options["task"], options["overrides"], options["resume"])
        options |= {"task": task, "overrides": overrides}
    return options


def _checked(options: dict[str, Any], folder: Path, here: bool) -> tuple[list[str], list[Path], dict[str, str]]:
    """Checks the experiment of a command before it travels.

    Returns:
        Arguments to add, files that go along, and variables that it needs over there.

    Raises:
        UserError: Something in it does not fit, or the cluster could not keep its results.
    """
    from sensorium.assembly.loading import load
    from sensorium.experiment.overrides import override
    from sensorium.experiment.reading import check
    from sensorium.modules import permitted
    from sensorium.plugins import Plugins
    from sensorium.runtime import working_dir
    from sensorium.runtime.packages import packages
    from sensorium.tracking.uri import check_uri
    from sensorium.training import runs
    from sensorium.tuning import session as tuning

    source, overrides = options["task"], list(options.get("overrides") or ())
    named = _named(options)
    resume = options.get("resume")
    if source is None and resume is None:
        raise UserError("The command names no task.", "Such as: sensorium submit -- train clip --workers 4.")
    if resume is not None:
        storage = runs.named(overrides)
        searching = "trials" in options
        record = runs.reopen(resume, storage, tuning.RECORD if searching else runs.RECORD)
        experiment = override(record["experiment"], overrides)
        loaded = check(experiment, Plugins(permitted(experiment, overrides)))
        uri = loaded.experiment.tracking.uri or (record["uri"] if searching else record["tracking"]["uri"])
    else:
        loaded = load(source, overrides)
        storage, uri = loaded.experiment.run.storage, loaded.experiment.tracking.uri
        if here:  # elsewhere the data may be, and what depends on it is checked there
            from sensorium.assembly.build import assemble

            assemble(loaded)
    added, variables = working_dir.places(storage, uri, folder, here)
    check_uri(uri or variables["MLFLOW_TRACKING_URI"])
    if resume is not None:  # a name or folder of this machine, which the job's folder does not know
        added += ["--resume", record["folder"]]
    return added, [*map(Path, packages(loaded.plugins)), *named], variables


def _named(options: dict[str, Any]) -> list[Path]:
    """Returns the experiment file of a command, which travels whatever git says.

    Raises:
        UserError: It lies elsewhere.
    """
    source = options.get("task")
    files = [path] if source is not None and (path := Path(expanded(source))).is_file() else []
    if files and not files[0].resolve().is_relative_to(Path.cwd()):
        raise UserError(
            f"The experiment {source} lies outside of this folder, whose files travel.",
            hint="Run from the folder that holds it.",
        )
    return files


def _show(choice: Any, as_json: bool) -> None:
    """Prints what would travel, the largest first, and what would stay."""
    sizes = choice.sizes()
    total = sum(size for size, _ in sizes)
    if as_json:
        files = [{"path": str(name), "bytes": size} for size, name in sizes]
        print_json({"files": files, "bytes": total, "withheld": [str(name) for name in choice.withheld]})
        return
    for size, name in sizes:
        print(f"{size:12,} {name}")
    print(f"{total:12,} bytes in {len(sizes)} files travel, besides plugins from elsewhere")
    for name in choice.withheld:
        print(f"stays here   {name}: looks like a secret")
