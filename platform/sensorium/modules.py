"""Modules that are not installed and that an experiment lists: whether they may be loaded, and how.

A module is code that runs when it is imported. Whoever starts a training from an experiment of their own lists what
they like. A model, a checkpoint, a run or a search may come from somebody else: it loads installed plugins, and the
modules that the user allows for this call.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import Any

from sensorium.errors import UserError

GROUP = "sensorium"
"""Group of the entry points of installed plugins."""
ALLOW = "SENSORIUM_ALLOW_PLUGINS"
"""Variable with the modules that a model may load, with commas between; workers and replicas get it as well."""
STARTED_IN = "SENSORIUM_STARTED_IN"
"""Variable that tells workers which folder Ray has put on their path: the one where the command was started."""
_PYTHONS_OWN = sys.stdlib_module_names | {"test"}


def allow(names: str | None) -> None:
    """Allows modules, with commas between, for the rest of this process and its workers."""
    if names:
        os.environ[ALLOW] = ",".join(dict.fromkeys([*allowed(), *_names(names)]))


@contextmanager
def allowing(names: Sequence[str]) -> Iterator[None]:
    """Allows modules for a while."""
    before = os.environ.get(ALLOW)
    allow(",".join(names))
    try:
        yield
    finally:
        os.environ.pop(ALLOW, None)
        os.environ.update({} if before is None else {ALLOW: before})


def allowed() -> tuple[str, ...]:
    """Returns the modules that the user allows a model to load."""
    return _names(os.environ.get(ALLOW, ""))


def present() -> tuple[str, ...]:
    """Returns the allowed modules that are found from here: a variable that names others is no reason to fail."""
    with _also(str(Path.cwd())):
        return tuple(name for name in allowed() if _found(name))


def _found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # of what it lies in
        return False


@contextmanager
def _also(folder: str) -> Iterator[None]:
    """Has a folder on the path for a while."""
    before = list(sys.path)
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path[:] = before


def advice(modules: Sequence[str]) -> str:
    """Returns what a command on a model with these modules needs at its end; nothing for installed plugins."""
    needed = [name for name in modules if name not in _installed()]
    return f" --plugins {','.join(needed)}" if needed else ""


def permitted(experiment: Mapping[str, Any], overrides: Sequence[str] = ()) -> tuple[str, ...]:
    """Returns the modules of an experiment that somebody else may have written, such as a model's.

    Args:
        experiment: The experiment, as it was stored.
        overrides: What the user has put over it; `plugins=[…]` among them is the user's own word.

    Raises:
        UserError: It lists a module that is neither an installed plugin nor allowed.
    """
    listed = experiment.get("plugins") or ()
    if not isinstance(listed, (list, tuple)) or not all(isinstance(name, str) for name in listed):
        return ()  # which the check of the experiment refuses
    own = any(item.partition("=")[0].strip() == "plugins" for item in overrides)
    refused = [name for name in listed if name not in {*_installed(), *allowed()}]
    if refused and not own:
        names = ",".join(refused)
        raise UserError(
            f"It wants to load the {'module' if len(refused) == 1 else 'modules'} {', '.join(map(repr, refused))}, not"
            f" {'an installed plugin' if len(refused) == 1 else 'installed plugins'}.",
            "A model, checkpoint, run or search loads installed plugins, and modules that you allow: a module is code"
            " that runs.",
            f"If you trust it, add --plugins {names} (or set {ALLOW}={names}) in the folder that holds it.",
        )
    return tuple(listed)


@contextmanager
def nowhere() -> Iterator[None]:
    """Takes the current folder off the path for a while, unless the user allows modules or names it in PYTHONPATH."""
    before = list(sys.path)
    if not allowed():
        chosen = {os.path.realpath(path) for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path}
        here = {os.path.realpath(path) for path in (Path.cwd(), os.environ.get(STARTED_IN, ""))} - chosen
        library = sysconfig.get_path("stdlib")
        first = before.index(library) if library in before else len(before)
        # What comes after Python's library was put there by an installation.
        sys.path[:] = [path for path in before[:first] if os.path.realpath(path) not in here] + before[first:]
    try:
        yield
    finally:
        sys.path[:] = before


def imported(name: str) -> ModuleType:
    """Returns a module that `plugins:` lists, from the current folder or from wherever Python finds it.

    Raises:
        UserError: It is not a name of a module, is Python's own, or does not import.
    """
    _check_name(name)
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.append(here)  # as `python` itself has it, and the `sensorium` command has not
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as cause:  # a module may call sys.exit
        raise UserError(
            f"The plugin module {name!r} cannot be imported: {type(cause).__name__}: {str(cause).rstrip('.')}.",
            "`plugins:` lists modules that Python can import from here.",
            _where_it_lies(name),
        ) from cause


def idle(name: str, module: ModuleType) -> UserError:
    """Returns the error of a module without hooks, with its path; it may be another one than was meant."""
    found = place(module)
    there = next((path for path in (Path(f"{name}.py"), Path(name, "__init__.py")) if path.is_file()), None)
    if there is not None and there.resolve() != Path(found):
        return UserError(
            f"The plugin module {name!r} is {found} to Python, not {there.resolve()}.",
            "A plugin's name is that of no other module.",
            "Rename yours.",
        )
    return UserError(
        f"The plugin module {name!r} registers nothing: {found}.",
        "A plugin has functions marked with @sensorium.hookimpl.",
        _where_it_lies(name) if module.__spec__ is not None and module.__spec__.origin is None else "Add one.",
    )


def place(module: object) -> str:
    """Returns where a module lies: its file, or the folders of a package without one."""
    file = getattr(module, "__file__", None)
    if file is not None:
        return str(Path(file).resolve())
    folders = ", ".join(str(Path(path).resolve()) for path in getattr(module, "__path__", ()))
    return f"{folders} (a folder, not a module)" if folders else "a part of Python"


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _installed() -> set[str]:
    return {point.module for point in entry_points(group=GROUP)}


def _check_name(name: str) -> None:
    if not all(part.isidentifier() for part in name.split(".")) or name.endswith(".py"):
        path = Path(name)
        folder = f" from the folder {path.parent}" if str(path.parent) != "." else ""
        raise UserError(
            f"{name!r} is not the name of a module.",
            "`plugins:` lists modules as Python names them, such as row_reader or reading.rows.",
            f"Write {path.stem}{folder}." if path.suffix == ".py" and path.stem.isidentifier() else "",
        )
    if name.partition(".")[0] in _PYTHONS_OWN:
        raise UserError(
            f"The plugin module {name!r} has the name of one of Python's own, which is loaded instead.",
            "A plugin's name is that of no other module.",
            "Rename its file.",
        )


def _where_it_lies(name: str) -> str:
    file = Path(*name.split(".")).with_suffix(".py")
    below = sorted(path.parent for path in Path().glob("*/") for path in [path / file] if path.is_file())
    return f"Run from {below[0]}, or install it." if below else "Run from the folder that holds it, or install it."
