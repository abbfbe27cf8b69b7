"""Writes a new plugin: one module, its tests, and what installs it."""

from __future__ import annotations

import keyword
import re
from pathlib import Path

from sensorium.errors import UserError, unknown
from sensorium.paths import expanded
from sensorium.plugins import KINDS, Plugins

TEMPLATES = Path(__file__).with_name("templates")
_PYPROJECT = """\
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "sensorium-{dashed}"
version = "0.1.0"
description = "{kind} for Sensorium"
requires-python = ">=3.11"
dependencies = ["sensorium"]

[project.entry-points.sensorium]
{name} = "sensorium_{name}"

[tool.setuptools]
py-modules = ["sensorium_{name}"]
"""
_TEST = '''\
"""Holds the plugin to its contract: `pytest`, or `sensorium plugin check sensorium_{name}`."""

from sensorium.conformance import examine


def test_it_does_what_its_contract_says():
    findings = examine("sensorium_{name}")
    assert {{found.component for found in findings}} == {{"{subject}"}}
    assert [found for found in findings if found.ok is False] == []
'''


def kinds() -> list[str]:
    """Returns what there is a template for: the kinds of component, and `events`."""
    return sorted(path.stem for path in TEMPLATES.glob("*.py") if path.stem in {*KINDS, "events"})


def write(name: str, kind: str, parent: Path) -> Path:
    """Writes the package of a new plugin and returns its folder.

    Args:
        name: Name of the plugin and its component: small letters, digits and underscores.
        kind: What it registers, or `events` for one that hears a run's.
        parent: Folder in which the package's own is made.

    Raises:
        UserError: The name is none, or is taken; there is no such kind; the folder is there already.
    """
    if kind not in kinds():
        raise unknown("kind", kind, kinds())
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name) or keyword.iskeyword(name):
        raise UserError(
            f"{name!r} is not a name for a plugin.",
            "Small letters, digits and underscores, with a letter first, were expected.",
            "Example: my_task.",
        )
    plugins = Plugins()
    taken = [each for each in KINDS if name in plugins.entries[each]]
    if name in plugins.versions or kind in taken:
        raise UserError(f"The name {name!r} is taken.", "Names are unique.", "Choose another.")
    folder = (
        Path(expanded(parent)) / f"sensorium-{name.replace('_', '-')}"
    )  # no module's name, so that it hides none from above
    if folder.exists():
        raise UserError(f"{folder} is there already.", hint="Choose another name, or remove it.")
    words = {"name": name, "dashed": name.replace("_", "-"), "kind": kind}
    words["subject"] = f"plugin sensorium_{name}" if kind == "events" else f"{kind} {name}"
    folder.mkdir(parents=True)
    module = (TEMPLATES / f"{kind}.py").read_text(encoding="utf-8")
    camel = "".join(word.capitalize() for word in name.split("_"))
    module = module.replace("example_name", name).replace("ExampleName", camel)
    (folder / f"sensorium_{name}.py").write_text(module, encoding="utf-8")
    (folder / f"test_{name}.py").write_text(_TEST.format(**words), encoding="utf-8")
    (folder / "pyproject.toml").write_text(_PYPROJECT.format(**words), encoding="utf-8")
    return folder
