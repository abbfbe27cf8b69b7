"""Plugins that travel: files and metadata of what is installed, modules of what is not."""

import subprocess
import sys

import pytest

from sensorium.plugins import Plugins
from sensorium.runtime.connection import _environment
from sensorium.runtime.packages import packages
from sensorium.scaffold.new import write


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A plugin that was installed from its wheel into a folder on the path."""
    plugin, target = write("stowaway", "loss", tmp_path), tmp_path / "site"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", target]
    subprocess.run([*command, plugin], check=True, capture_output=True)
    monkeypatch.syspath_prepend(target)
    yield target
    sys.modules.pop("sensorium_stowaway", None)


def test_what_comes_along_stays():
    assert packages(Plugins()) == []
    assert set(_environment("auto", Plugins())) == {"env_vars"}, "Ray chokes on an empty list of modules"


def test_an_installed_plugin_takes_its_metadata_along(installed, tmp_path):
    paths = packages(Plugins())
    assert paths == [
        str(installed / "sensorium_stowaway-0.1.0.dist-info"),
        str(installed / "sensorium_stowaway.py"),
    ]
    # Laid somewhere else, as Ray lays them, they are a plugin there.
    code = "from sensorium.plugins import Plugins; print(Plugins().entries['loss']['stowaway'].plugin)"
    there = tmp_path / "there"
    there.mkdir()
    for path in paths:
        subprocess.run(["cp", "-r", path, there], check=True)
    done = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": str(there)}, capture_output=True, text=True)
    assert done.stdout.strip() == "stowaway", done.stderr


def test_modules_that_an_experiment_names_travel_as_they_are(tmp_path, monkeypatch):
    hook = "from sensorium import hookimpl\n\n\n@hookimpl\ndef sensorium_losses():\n    return {}\n"
    (tmp_path / "single.py").write_text(hook)
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "__init__.py").write_text("")
    (tmp_path / "parts" / "one.py").write_text(hook)
    monkeypatch.syspath_prepend(tmp_path)
    assert packages(Plugins(("single", "parts.one"))) == [str(tmp_path / "parts"), str(tmp_path / "single.py")]
