"""Runs on storage: a folder each, with what it takes to go on after everything else is gone."""

from __future__ import annotations

import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from sensorium.assembly.build import Assembly
from sensorium.contracts.run import Run
from sensorium.engine.storage import PATIENCE, check, fault, files_at, is_remote, make_folder, persistent, told
from sensorium.errors import SensoriumError, UserError
from sensorium.experiment.overrides import override
from sensorium.paths import expanded

RECORD = "run.json"
FAILURE = "failure.json"
RUNS = "runs"
"""Storage where none is named."""


def new_name(task: str) -> str:
    """Returns a name that no other run or search has."""
    return f"{task}-{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(2)}"


def place(storage: str, name: str) -> str:
    """Returns the folder or URI of what has a name below a storage."""
    storage = expanded(storage)
    return f"{storage.rstrip('/')}/{name}" if "://" in storage else str(Path(storage).resolve() / name)


def named(overrides: Sequence[str]) -> str:
    """Returns the storage that overrides name, or the one that runs usually have."""
    given = [item for item in overrides if item.partition("=")[0].strip() == "run.storage"]
    return str(override({"run": {"storage": RUNS}}, given)["run"]["storage"])


def create(assembly: Assembly, tracking: Mapping[str, Any], name: str | None = None) -> Run:
    """Returns a new run, of a new name if none is given, and writes its record into its folder."""
    experiment = assembly.loaded.experiment
    name = name or new_name(experiment.task)
    folder = place(experiment.run.storage, name)
    run = Run(
        name=name,
        folder=folder,
        experiment=assembly.loaded.plain(),
        seed=experiment.run.seed,
        workers=experiment.run.workers if isinstance(experiment.run.workers, int) else experiment.run.workers[1],
        tracking=tracking,
    )
    record = {"name": name, "experiment": run.experiment, "learnt": assembly.learnt(), "tracking": dict(tracking)}
    write(folder, RECORD, json.dumps(record, indent=1))
    return run


def reopen(run: str, storage: str, record_file: str = RECORD) -> dict[str, Any]:
    """Returns the record of a run, or of a search, by its name or folder, with `folder` added.

    Raises:
        UserError: There is no such run; says which there are.
    """
    run, storage = expanded(run), expanded(storage)
    folder = run if "://" in run or Path(run).is_dir() else f"{storage.rstrip('/')}/{run}"
    if "://" not in folder:
        folder = str(Path(folder).resolve())
    if is_remote(folder):
        check(folder, "The run")
    try:
        record: dict[str, Any] = json.loads(read(folder, record_file))
        if not isinstance(record, dict) or not isinstance(record.get("experiment"), dict):
            raise ValueError("a record of an experiment was expected")
    except (FileNotFoundError, NotADirectoryError) as cause:
        storage = run.rstrip("/").rpartition("/")[0] if "://" in run else storage
        there = _names(storage)
        near = get_close_matches(folder.rstrip("/").rpartition("/")[2], there, n=1)
        raise UserError(
            f"There is no run {run!r}.",
            f"Runs in {storage}: {', '.join(there) or 'none'}.",
            f"Did you mean {near[0]!r}?" if near else "Give one of them.",
        ) from cause
    except (ValueError, RecursionError) as cause:
        raise UserError(f"{folder}/{record_file} cannot be read: {cause}.", "", "Give another run.") from cause
    return {**record, "folder": folder}


def remember_failure(folder: str, error: SensoriumError) -> None:
    """Writes down an error that a restart would only meet again."""
    content = {"sentences": [error.wrong, error.expected, error.hint], "exit_status": error.exit_status}
    write(folder, FAILURE, json.dumps(content))


def failure(folder: str) -> dict[str, Any] | None:
    """Returns what `remember_failure` wrote, or None."""
    try:
        text = read(folder, FAILURE)
    except FileNotFoundError:
        return None
    with readable(f"{folder}/{FAILURE}", "Remove it, and resume again."):
        content: dict[str, Any] = json.loads(text)
        return {"sentences": [str(each) for each in content["sentences"]], "exit_status": int(content["exit_status"])}


@contextlib.contextmanager
def readable(file: str, hint: str) -> Iterator[None]:
    """Says of a file that is not what Sensorium wrote which one it is.

    Raises:
        UserError: Reading what it holds fails.
    """
    try:
        yield
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        wrong = f"{file} is not what Sensorium wrote: {type(cause).__name__}: {cause}."
        raise UserError(wrong, "A file that nobody has changed was expected.", hint) from cause


def forget_failure(folder: str) -> None:
    """Lets a run be tried again after its mistake was mended."""
    remove(folder, FAILURE)


def remove(folder: str, name: str) -> None:
    """Removes a file of a run's folder, if it is there.

    Raises:
        UserError: The storage cannot be written.
    """
    with contextlib.suppress(FileNotFoundError), told(folder, "written"):  # another process was faster
        files, root = files_at(folder)
        if persistent(lambda: files.exists(f"{root}/{name}")):
            persistent(lambda: files.rm(f"{root}/{name}"))


def write(folder: str, name: str, content: str | bytes, seconds: float = PATIENCE) -> None:
    """Writes a file of a run's folder, which a process that is killed meanwhile leaves as it was.

    Args:
        folder: The run's.
        name: Of the file.
        content: What it is to hold.
        seconds: For which a server that is away is waited for.

    Raises:
        UserError: The storage cannot be written.
    """
    data = content.encode() if isinstance(content, str) else content
    with _writing(folder):
        files, root = files_at(folder)
        make_folder(files, root)
        if "://" in folder:
            persistent(lambda: files.pipe_file(f"{root}/{name}", data), seconds)
        else:
            partial = Path(root) / f".{name}.partial"
            partial.write_bytes(data)
            partial.replace(Path(root) / name)


def write_new(folder: str, name: str, content: str) -> bool:
    """Writes a file of a run's folder if there is none, and returns whether it did.

    Raises:
        UserError: The storage cannot be written.
    """
    data = content.encode()
    with _writing(folder):
        files, root = files_at(folder)
        make_folder(files, root)
        try:
            persistent(lambda: files.pipe_file(f"{root}/{name}", data, mode="create"))
        except FileExistsError:
            return False
        except NotImplementedError:  # a store that knows no such mode
            if files.exists(f"{root}/{name}"):
                return False
            files.pipe_file(f"{root}/{name}", data)
    return True


@contextlib.contextmanager
def _writing(folder: str) -> Iterator[None]:
    try:
        with told(folder, "written"):
            yield
    except (
        FileNotFoundError,
        FileExistsError,
        NotADirectoryError,
    ) as cause:  # no such bucket, or a file where a folder was expected
        raise fault(folder, cause) from cause


def read(folder: str, name: str, seconds: float = PATIENCE) -> str:
    """Returns what a file of a run's folder holds.

    Args:
        folder: The run's.
        name: Of the file.
        seconds: For which a server that is away is waited for.

    Raises:
        FileNotFoundError: There is none.
        UserError: The storage cannot be read.
    """
    with told(folder, "read"):
        files, root = files_at(folder)
        content: bytes = persistent(lambda: files.cat_file(f"{root}/{name}"), seconds)
        return content.decode()


def _names(storage: str) -> list[str]:
    with told(storage, "read"):
        files, root = files_at(storage)
        return sorted(Path(path).name for path in files.ls(root, detail=False)) if files.isdir(root) else []
