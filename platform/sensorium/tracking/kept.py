"""Points kept on the run's storage until they are in its record.

The writer outlives the process that trains, but not the machine of both. Points lie there before
the checkpoint of their step does, so a run never goes on from a checkpoint without them.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from functools import partial
from typing import Any

from sensorium.engine.storage import files_at, make_folder, persistent, told

FOLDER = "points"
"""Below the run's folder."""
Point = Sequence[Any]
"""Name, value, seconds since 1970, step."""


def keep(folder: str, step: int, points: Sequence[Point]) -> None:
    """Keeps what is to be written up to a step.

    Args:
        folder: The run's folder or URI.
        step: Of the checkpoint that is about to be written.
        points: Those since the checkpoint before.
    """
    files, root = _place(folder)
    with told(folder, "written"):
        make_folder(files, root)
        persistent(lambda: files.pipe_file(f"{root}/{_name(step)}", json.dumps(points).encode()))


def kept(folder: str, until: int) -> dict[int, list[Point]]:
    """Returns step -> what was kept up to it, for steps up to one; later ones may be torn, and are done again."""
    files, root = _place(folder)

    def read(step: int) -> list[Point]:
        return list(json.loads(files.cat_file(f"{root}/{_name(step)}")))

    with told(folder, "read"):
        there = persistent(lambda: files.ls(root, detail=False) if files.isdir(root) else [])
        steps = sorted(int(path.rpartition("/")[2].removesuffix(".json")) for path in there)
        return {step: persistent(partial(read, step)) for step in steps if step <= until}


def drop(folder: str, step: int) -> None:
    """Removes what was kept up to a step, because it is written."""
    files, root = _place(folder)
    with contextlib.suppress(FileNotFoundError), told(folder, "written"):  # by the writer of another execution
        persistent(lambda: files.rm_file(f"{root}/{_name(step)}"))


def _name(step: int) -> str:
    return f"{step:08d}.json"


def _place(folder: str) -> tuple[Any, str]:
    files, root = files_at(folder)
    return files, f"{root}/{FOLDER}"
