"""What travels with a job: files, variables, and where it writes."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import urlsplit

from sensorium.errors import UserError

MOST = 256 * 2**20
"""Bytes of files that may travel."""
STAYS = frozenset(
    {
        *(".git", ".venv", "venv", "node_modules", "__pycache__", "build", "dist"),
        *("runs", "mlruns", "mlartifacts", "mlflow.db", ".env"),
        *(".pytest_cache", ".mypy_cache", ".ruff_cache", ".hypothesis", ".ipynb_checkpoints"),
    }
)
"""Names of files and folders that never travel."""
CREDENTIALS = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
"""Variables that a server's record keeper asks for."""
_SECRET = ("KEY", "TOKEN", "SECRET", "PASSWORD", "CREDENTIAL", "USERNAME")


def variables() -> dict[str, str]:
    """Returns the environment variables that workers and jobs get: settings of ours, and no secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("SENSORIUM_", "MLFLOW_"))
        and name != "SENSORIUM_NODE"
        and not any(word in name for word in _SECRET)
    }


def credentials() -> dict[str, str]:
    """Returns the variables with which MLflow's server is asked; for the process alone that writes there."""
    return {name: os.environ[name] for name in CREDENTIALS if name in os.environ}


def pack(folder: Path, target: Path, named: Iterable[Path] = ()) -> int:
    """Writes the files of a working folder into a zip, and returns their number.

    Args:
        folder: The working folder; what git ignores stays.
        target: The zip to write.
        named: Files and folders that travel whatever git says, at the top if they lie elsewhere.

    Raises:
        UserError: There is too much.
    """
    files = {path.relative_to(folder): path for path in _tree(folder)}
    for path in named:
        path = path.resolve()
        base = folder if path.is_relative_to(folder) else path.parent
        files |= {inside.relative_to(base): inside for inside in (_walk(path) if path.is_dir() else [path])}
    size = sum(path.stat().st_size for path in files.values())
    if size > MOST:
        largest = max(files.values(), key=lambda path: path.stat().st_size)
        raise UserError(
            f"The files of {folder} are too many to travel: {size / 2**20:.0f} MiB, {largest.name} being the largest.",
            f"Expected: {MOST / 2**20:.0f} MiB at most.",
            "Keep data where the cluster reaches it, and have git ignore it here.",
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for name, path in sorted(files.items()):
            archive.write(path, name)
    return len(files)


def places(storage: str, uri: str | None, folder: Path, here: bool) -> tuple[list[str], dict[str, str]]:
    """Returns overrides and variables by which a job writes to places that outlive it.

    A job works in a folder of Ray's, which goes with the cluster.

    Args:
        storage: The experiment's run.storage.
        uri: Its tracking.uri.
        folder: The folder from which the job is submitted.
        here: Whether the cluster runs on this machine.

    Raises:
        UserError: The cluster is elsewhere and cannot reach them.
    """
    uri_of_all = os.environ.get("MLFLOW_TRACKING_URI")
    relative = "://" not in storage and not Path(storage).is_absolute()
    if not here and relative:
        raise UserError(
            f"The cluster cannot reach the storage {storage!r}: it is a folder of this machine.",
            "run.storage is a folder that all nodes share, or a URI such as s3://bucket/runs.",
            "Add run.storage=… to the command.",
        )
    if not here and uri is None and not uri_of_all:
        raise UserError(
            "The cluster cannot reach the record: it would be a file of this machine.",
            "MLFLOW_TRACKING_URI or tracking.uri names a server or database that the cluster reaches.",
            "Set one of them.",
        )
    for given in (uri, uri_of_all):
        if given and not here and given != _absolute(given, folder):
            raise UserError(f"The cluster cannot reach {given}: the path is relative.", "Expected: an absolute one.")
        if given and urlsplit(given).password:
            raise UserError(
                "The address of the MLflow store holds a password, which Ray would write down with the job.",
                "For a server, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD hold it, set on the nodes.",
                "Take it out of the address.",
            )
    overrides = [f"run.storage={(folder / storage).resolve()}"] if relative else []
    if uri and uri != _absolute(uri, folder):
        overrides.append(f"tracking.uri={_absolute(uri, folder)}")
    default = uri_of_all or (f"sqlite:///{folder / 'mlflow.db'}" if here else None)
    return overrides, {"MLFLOW_TRACKING_URI": _absolute(default, folder)} if default else {}


def commit(folder: Path) -> str:
    """Returns the commit of the working folder; empty if it is in no repository."""
    return _git(folder, "rev-parse", "HEAD").strip()


def _absolute(uri: str, folder: Path) -> str:
    path = uri.removeprefix("sqlite:///")
    return uri if path == uri else f"sqlite:///{folder / path}"


def _tree(folder: Path) -> list[Path]:
    """Returns the files of a folder that travel: those of which git knows, or all."""
    listed = _git(folder, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", ".")
    if not listed and not commit(folder):
        return _walk(folder)
    files = (folder / name for name in listed.split("\0") if name and not STAYS & set(Path(name).parts))
    return [path for path in files if path.is_file()]


def _walk(folder: Path) -> list[Path]:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in STAYS]
        found += [Path(parent) / name for name in files if name not in STAYS]
    return [path for path in found if path.is_file()]


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
