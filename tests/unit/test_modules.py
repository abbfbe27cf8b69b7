"""Modules that are not installed: found, refused, allowed for a call; a model loads none on its own."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sensorium.assembly.build import assemble, load_model
from sensorium.assembly.loading import load
from sensorium.errors import UserError
from sensorium.modules import ALLOW, advice, allow, allowing, nowhere, permitted, present
from sensorium.plugins import Plugins
from sensorium.runtime import connection
from sensorium.training import runs
from sensorium.training.execution import execute

EVIL = "import pathlib; pathlib.Path('was-here').touch()\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder to work in, where nothing is allowed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOW, "")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    for name in ("evil", "row_reader", "quitter", "quiet", "empty", "local_lines"):
        sys.modules.pop(name, None)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A model, hardly trained, of a task that the module `every_hook` registers."""
    storage = tmp_path_factory.mktemp("whole")
    assembly = assemble(load("lines", ["plugins=[every_hook]", "training.epochs=0", f"run.storage={storage}"]))
    return Path(execute(assembly, runs.create(assembly, {})).model)


def test_modules_are_allowed_for_a_call(folder, whole, monkeypatch):
    (folder / "evil.py").write_text(EVIL)
    with pytest.raises(UserError, match=r"module 'every_hook', not an installed plugin.*--plugins every_hook"):
        load_model(whole)
    with allowing(["every_hook"]):
        assert type(load_model(whole).task).__module__ == "every_hook"
        assert "--plugins" in advice(["every_hook", "sensorium_clip"])
    assert os.environ[ALLOW] == ""
    allow("every_hook, evil")
    allow("evil")
    assert os.environ[ALLOW] == "every_hook,evil"
    assert connection.variables()[ALLOW] == "every_hook,evil"  # in workers and replicas
    load_model(whole)


def test_an_allowed_module_that_is_not_here_is_no_reason_to_fail(folder, monkeypatch):
    (folder / "quiet.py").touch()
    before = list(sys.path)
    monkeypatch.setenv(ALLOW, "quiet,not_here,not_here.either,json")
    assert present() == ("quiet", "json")
    assert sys.path == before


def test_an_installed_plugin_needs_no_word():
    assert permitted({"plugins": ["sensorium_clip"]}) == ("sensorium_clip",)
    assert advice(["sensorium_clip"]) == ""
    assert permitted({"plugins": ["evil"]}, ["plugins=[evil]"]) == ("evil",), "the user's own word"


def test_the_current_folder_is_on_no_path_while_a_model_is_loaded(folder, monkeypatch):
    monkeypatch.setattr(sys, "path", ["", str(folder), *sys.path, str(folder)])
    with nowhere():
        assert "" not in sys.path
        assert sys.path.count(str(folder)) == 1  # the one after Python's library, where installations are
    assert sys.path[:2] == ["", str(folder)]
    with allowing(["mine"]), nowhere():
        assert sys.path[:2] == ["", str(folder)]
    assert str(folder) not in connection.variables()["PYTHONPATH"]
    assert str(folder) in connection.variables(["mine"])["PYTHONPATH"]


def test_a_task_of_a_listed_module_is_found_by_its_name(folder, sensorium):
    lines = Path(sys.modules["every_hook"].__file__) if "every_hook" in sys.modules else None
    source = (lines or Path(__file__).with_name("every_hook.py")).read_text()
    (folder / "local_lines.py").write_text(source.replace('"every_hook"', '"local_lines"'))
    shown = sensorium("show", "lines", "plugins=[local_lines]")
    assert shown.status == 0, shown.err
    assert "task: lines" in shown.out


@pytest.mark.parametrize(
    ("listed", "code", "told"),
    [
        ("row_reader.py", "1 / 0", "Write row_reader."),
        ("plugins/row_reader.py", "1 / 0", "Write row_reader from the folder plugins."),
        ("", "", "is not the name of a module"),
        ("test", "", "has the name of one of Python's own"),
        ("statistics", "", "has the name of one of Python's own"),
        ("select", "", "has the name of one of Python's own"),
        ("os.path", "", "has the name of one of Python's own"),
        ("quitter", "import sys; sys.exit(0)", "cannot be imported: SystemExit: 0."),
        ("yaml", "", "Rename yours."),
        ("quiet", "x = 1", "quiet.py"),
        ("empty", None, "(a folder, not a module)"),
    ],
)
def test_a_listed_module_that_is_no_plugin_is_refused(folder, listed, code, told, sensorium):
    if code is None:
        (folder / listed).mkdir()
    elif listed and not listed.startswith("plugins/"):
        (folder / f"{listed.removesuffix('.py')}.py").write_text(code)
    answer = sensorium("train", "clip", f"plugins=[{json.dumps(listed)}]")
    assert answer.status == 2
    assert answer.err.count("\n") == 1
    assert told in answer.err


def test_a_module_in_a_folder_below_is_pointed_at(folder):
    (folder / "sensorium-try-out").mkdir()
    (folder / "sensorium-try-out" / "sensorium_try_out.py").write_text("")
    with pytest.raises(UserError, match="Run from sensorium-try-out, or install it"):
        Plugins(["sensorium_try_out"])


def test_python_m_puts_the_current_folder_on_no_path(folder):
    (folder / "evil.py").write_text(EVIL)
    info = folder / "evil-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: evil\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[sensorium]\nevil = evil\n")
    paths = os.pathsep.join(path for path in sys.path if path and Path(path) != folder)
    done = subprocess.run(
        [sys.executable, "-m", "sensorium.cli", "plugins"],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "evil" not in done.stdout + done.stderr
    assert not (folder / "was-here").exists()
