"""What travels with a job: files, variables, and where it writes."""

from __future__ import annotations

import os
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sensorium.errors import UserError
from sensorium.paths import expanded
from sensorium.secrets import check_address, is_secret_file, is_secret_path, is_secret_variable
from sensorium.tracking import uri as uris

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


@dataclass(frozen=True)
class Choice:
    """Which files travel.

    Attributes:
        files: Name in the job's folder -> file here.
        withheld: Names of files that look like secrets, and stay.
    """

    files: dict[Path, Path]
    withheld: list[Path]

    def sizes(self) -> list[tuple[int, Path]]:
        """Returns size (bytes) and name of each file, the largest first."""
        return sorted(((path.stat().st_size, name) for name, path in self.files.items()), key=lambda e: (-e[0], e[1]))


def variables() -> dict[str, str]:
    """Returns the environment variables that workers and jobs get: settings of ours, and no secrets."""
    return {
        name: value
        for name, value in os.environ.items()
        if name.startswith(("SENSORIUM_", "MLFLOW_"))
        and name != "SENSORIUM_NODE"
        and not is_secret_variable(name, value)
    }


def credentials() -> dict[str, str]:
    """Returns the variables with which MLflow's store is asked; for the process alone that writes there."""
    return {name: os.environ[name] for name in CREDENTIALS if name in os.environ} | uris.secrets()


def choose(folder: Path, named: Iterable[Path] = ()) -> Choice:
    """Returns which files of a working folder travel.

    Args:
        folder: The working folder; what git ignores stays, and so does what looks like a secret.
        named: Files and folders that travel whatever git says, at the top if they lie elsewhere.

    Raises:
        UserError: A link leads outside.
    """
    files: dict[Path, Path] = {}
    withheld: list[Path] = []
    groups = [(folder, _tree(folder))]
    for path in (path.resolve() for path in named):
        base = folder if path.is_relative_to(folder) else path.parent
        groups.append((base, _walk(path) if path.is_dir() else [path]))
    for base, paths in groups:
        for path in paths:
            name = path.relative_to(base)
            target = _inside(path, base)
            if is_secret_path(name) or is_secret_path(target) or STAYS & set(target.parts):
                withheld.append(name)
            elif path.is_file():
                if is_secret_file(path):
                    withheld.append(name)
                else:
                    files[name] = path
    return Choice(files, sorted(set(withheld)))


def pack(choice: Choice, target: Path) -> int:
    """Writes the files that travel into a zip, and returns their number.

    Raises:
        UserError: There is too much.
    """
    sizes = choice.sizes()
    total = sum(size for size, _ in sizes)
    if total > MOST:
        raise UserError(
            f"The files of this folder are too many to travel: {total / 2**20:.0f} MiB, {sizes[0][1].name} being"
            " the largest.",
            f"Expected: {MOST / 2**20:.0f} MiB at most.",
            "Keep data where the cluster reaches it, and have git ignore it here; `--dry-run` lists what travels.",
        )
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive:
        for name, path in sorted(choice.files.items()):
            archive.write(path, name)
    return len(choice.files)


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
    for given in filter(None, (uri, uri_of_all)):
        check_address(given, "The address of the MLflow store")
        if not here and given != _absolute(given, folder):
            raise UserError(f"The cluster cannot reach {given}: the path is relative.", "Expected: an absolute one.")
    overrides = [f"run.storage={(folder / expanded(storage)).resolve()}"] if relative else []
    if uri and uri != (absolute := _absolute(expanded(uri), folder)):
        overrides.append(f"tracking.uri={absolute}")
    default = expanded(uri_of_all) if uri_of_all else (f"sqlite:///{folder / 'mlflow.db'}" if here else None)
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
    return [folder / name for name in listed.split("\0") if name and not STAYS & set(Path(name).parts)]


def _walk(folder: Path) -> list[Path]:
    """Returns files and links below a folder; what links to folders hold is not looked at."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name not in STAYS]
        linked = [name for name in folders if (Path(parent) / name).is_symlink()]
        found += [Path(parent) / name for name in (*files, *linked) if name not in STAYS]
    return found


def _inside(path: Path, base: Path) -> Path:
    """Returns what a file is, all links followed, below `base`.

    Raises:
        UserError: It lies elsewhere.
    """
    target, base = path.resolve(), base.resolve()
    if not target.is_relative_to(base):
        raise UserError(
            f"{path.relative_to(base) if path.is_relative_to(base) else path} is a link that leads out of {base}.",
            "Only files of this folder travel.",
            "Remove the link, or have git ignore it.",
        )
    return target.relative_to(base)


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=60, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout
