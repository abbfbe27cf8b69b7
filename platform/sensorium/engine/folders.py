"""Folders of files on storage, in few requests: many files in one go, and nothing asked that is known."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path

from sensorium.engine.storage import files_at, in_buckets, make_folder, persistent


def names(uri: str) -> list[str]:
    """Returns the names of what lies in a folder; none where there is no folder."""
    files, root = files_at(uri)
    files.invalidate_cache(root)  # other processes write there too

    def listed() -> list[str]:
        try:
            return [path.rstrip("/").rpartition("/")[2] for path in files.ls(root, detail=False)]
        except FileNotFoundError:
            return []

    return persistent(listed)


def fetch(uri: str, wanted: Collection[str], folder: Path) -> None:
    """Reads files of a folder at a URI into a local one."""
    files, root = files_at(uri)
    there, here = [f"{root}/{name}" for name in wanted], [str(folder / name) for name in wanted]
    persistent(lambda: files.get(there, here))


def send(folder: Path, uri: str, last: str) -> list[str]:
    """Writes the files of a local folder to a URI, all at once but for one, which tells that the others are there.

    Args:
        folder: The local one.
        uri: Where to.
        last: Name of the file that is written when all others are.

    Returns:
        Their names.
    """
    files, root = files_at(uri)
    persistent(lambda: make_folder(files, root))
    rest = sorted(path.name for path in folder.iterdir() if path.name != last)
    for some in (rest, [last]):
        here, there = [str(folder / name) for name in some], [f"{root}/{name}" for name in some]
        persistent(partial(files.put, here, there))
    return [*rest, last]


def remove(uri: str, known: Collection[str] = ()) -> None:
    """Removes a folder.

    Args:
        uri: Where it lies.
        known: What it holds, if that is known: a bucket need not be asked then.
    """
    files, root = files_at(uri)
    if known and in_buckets(files):
        persistent(lambda: files.rm([f"{root}/{name}" for name in known]))
    else:
        persistent(lambda: files.rm(root, recursive=True))
