"""Who may import whom, read from the sources; and every module can be imported first, without a warning."""

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import sensorium

ROOT = Path(__file__).parents[2]
PLATFORM, PLUGINS = ROOT / "platform", ROOT / "plugins"
CORE = sorted((PLATFORM / "sensorium").rglob("*.py"))
PLUGGED = sorted(path for path in PLUGINS.rglob("*.py") if "build" not in path.parts)
STANDARD = frozenset(sys.stdlib_module_names)


def name_of(path: Path) -> str:
    parts = path.relative_to(PLATFORM if path.is_relative_to(PLATFORM) else PLUGINS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, typing: bool = False) -> Iterator[tuple[str, str | None]]:
    """Yields (module, name) of all imports, those inside functions too; of TYPE_CHECKING only if asked."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not typing:
            waiting += node.orelse
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            yield from ((str(node.module), alias.name) for alias in node.names)
        waiting += ast.iter_child_nodes(node)


def foreign(paths: list[Path], allowed: tuple[str, ...], typing: bool = False) -> list[str]:
    """Returns what is imported beyond the standard library and the packages that are allowed."""

    def fits(module: str) -> bool:
        return module.split(".")[0] in STANDARD or any(
            module == package or module.startswith(f"{package}.") for package in allowed
        )

    return [
        f"{name_of(path)} imports {module}" for path in paths for module, _ in imports(path, typing) if not fits(module)
    ]


def below(*folders: str) -> list[Path]:
    found = [path for path in CORE if name_of(path).removeprefix("sensorium.").split(".")[0] in folders]
    assert found, f"{folders} has moved"
    return found


def test_hookspecs_imports_pluggy_alone():
    assert foreign(below("hookspecs"), ("pluggy",)) == []


def test_contracts_and_errors_import_torch_and_one_another():
    own = ("torch", "sensorium.contracts", "sensorium.errors")
    assert foreign(below("contracts"), own, typing=True) == []
    assert foreign(below("errors"), ("sensorium.redaction",), typing=True) == []


def test_ops_knows_nothing_of_the_rest():
    assert foreign(below("ops"), ("torch", "scipy", "PIL", "matplotlib", "sensorium.ops"), typing=True) == []


def test_the_engine_knows_contracts_torch_and_storage():
    own = ("torch", "safetensors", "fsspec", "numpy", "sensorium.contracts", "sensorium.errors", "sensorium.engine")
    assert foreign(below("engine"), own, typing=True) == []


@pytest.mark.parametrize(("library", "home"), [("ray", "runtime"), ("mlflow", "tracking")])
def test_a_library_is_imported_in_one_place(library, home):
    others = [path for path in CORE + PLUGGED if not name_of(path).startswith(f"sensorium.{home}")]
    users = [name_of(path) for path in others for module, _ in imports(path) if module.split(".")[0] == library]
    assert users == []
    assert any(module.split(".")[0] == library for path in below(home) for module, _ in imports(path))


ORDER = (
    {"debugging", "hookspecs", "redaction"},
    {"errors"},
    {"modules", "paths", "secrets"},
    {"contracts"},
    {"engine", "ops", "plugins"},
    {"builtin", "experiment"},
    {"tracking"},
    {"assembly"},
    {"training", "inference"},
    {"tuning", "serving"},
    {"runtime"},
    {"conformance", "scaffold"},
    {"api"},
    {"cli"},
)
"""The folders and modules of the core; each imports what stands above it, and nothing else."""


def test_no_import_points_upwards():
    ranks = {folder: rank for rank, folders in enumerate(ORDER) for folder in folders}
    there = {name_of(path).split(".")[1] for path in CORE if name_of(path) != "sensorium"}
    assert there == set(ranks), "each folder has its place"
    upwards = []
    for path in CORE:
        own, *_ = name_of(path).split(".")[1:] or [""]
        for module, name in imports(path):
            parts = [*module.split("."), name or ""]
            if parts[0] != "sensorium" or not own or parts[1] not in ranks or parts[1] == own:
                continue
            if ranks[parts[1]] >= ranks[own]:
                upwards.append(f"{name_of(path)} imports {module}")
    assert upwards == []


def diagram():
    """Returns each folder of the core with those that it imports, as CONTRIBUTING.md shows it."""
    ranks = {folder: rank for rank, folders in enumerate(ORDER) for folder in sorted(folders)}
    found = {folder: set() for folder in ranks}
    for path in CORE:
        own, *_ = name_of(path).split(".")[1:] or [""]
        for module, name in imports(path):
            parts = [*module.split("."), name or ""]
            if own and parts[0] == "sensorium":
                reached = parts[1] if parts[1] in ranks else "contracts" if parts[1][:1].isupper() else ""
                found[own] |= {reached} - {own, ""}
    basic = {"errors", "contracts"}  # which nearly all import
    rows = [
        f"    {folder:12}{', '.join(sorted(found[folder] - basic, key=lambda name: (ranks[name], name)))}".rstrip()
        for folder in ranks
    ]
    return "\n".join(rows)


def test_the_diagram_is_that_of_the_imports():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    shown = text.partition("<!-- imports -->")[2].partition("<!-- /imports -->")[0]
    assert shown.strip("\n") == diagram(), f"CONTRIBUTING.md is to show\n{diagram()}"


def test_nothing_in_the_core_imports_a_plugin():
    packages = {path.name for path in PLUGINS.iterdir()}
    users = [name_of(path) for path in CORE for module, _ in imports(path, True) if module.split(".")[0] in packages]
    assert users == []


@pytest.mark.parametrize("path", below("builtin") + PLUGGED, ids=name_of)
def test_parts_import_what_sensorium_exports_and_their_own_package(path):
    own = "sensorium.builtin" if path in CORE else name_of(path).split(".")[0]
    for module, name in imports(path, typing=True):
        if module.split(".")[0] == "sensorium" and not f"{module}.".startswith(f"{own}."):
            shared = f"{module}.".startswith(("sensorium.ops.", "sensorium.builtin.")) and not str(name).startswith("_")
            allowed = (module == "sensorium" and name in sensorium.__all__) or shared
            # The hooks are declared without the names that import torch.
            registering = path.name == "__init__.py" and (module, name) == ("sensorium.hookspecs", "hookimpl")
            assert allowed or registering, f"{module} {name}"
        other = module.split(".")[0]
        assert not other.startswith("sensorium_") or other == own, f"another plugin: {module}"


def test_everything_exported_is_there_and_documented():
    for name in sensorium.__all__:
        assert getattr(sensorium, name).__doc__, name
    with pytest.raises(AttributeError, match="Encodre"):
        sensorium.Encodre  # noqa: B018


def test_every_package_is_typed_and_registered():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    there = {path.name for path in PLUGINS.glob("sensorium_*") if path.is_dir()}
    assert set(settings["tool"]["mypy"]["packages"]) == {"sensorium", *there}
    assert set(settings["project"]["entry-points"]["sensorium"].values()) == there


def test_modules_are_short_and_platform_is_a_plain_folder():
    assert not (PLATFORM / "__init__.py").exists(), "it would shadow Python's own module `platform`"
    for paths, most in ((CORE, 400), (PLUGGED, 250)):
        long = [f"{name_of(path)} has {n} lines" for path in paths if (n := len(path.read_text().splitlines())) > most]
        assert long == []


def at_once(path: Path) -> Iterator[str]:
    """Yields the modules that are imported when a module is, not later by its functions."""
    waiting: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            waiting += node.orelse
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def packages(name: str) -> set[str]:
    """Returns a module and the packages that are imported before it."""
    parts = name.split(".")
    return {".".join(parts[:count]) for count in range(1, len(parts) + 1)}


def test_every_module_can_be_imported_first():
    """No module waits for one that waits for it: there is an order in which all can be imported."""
    there = {name_of(path): path for path in CORE + PLUGGED}
    needs = {
        name: {one for module in at_once(path) for one in packages(module) if one in there} - packages(name)
        for name, path in there.items()
    }
    assert needs["sensorium.assembly.build"] >= {"sensorium.errors", "sensorium.assembly.checks", "sensorium.contracts"}
    TopologicalSorter(needs).prepare()  # raises CycleError


EACH = """
import importlib, sys, warnings
with warnings.catch_warnings():  # what libraries say to one another is not ours to mend
    warnings.simplefilter("ignore")
    import mlflow, pydantic, soundfile, torch, torchaudio, torchvision, typer, yaml
warnings.simplefilter("error")
for name in sys.argv[1:]:
    importlib.import_module(name)
"""


def test_every_module_imports_without_a_warning():
    names = [name_of(path) for path in CORE + PLUGGED]
    done = subprocess.run([sys.executable, "-c", EACH, *names], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(names) > 80
