"""New plugins pass their own checks, and are short."""

import subprocess
import sys
import tomllib

import pytest

from sensorium.conformance import examine
from sensorium.errors import UserError
from sensorium.scaffold.new import kinds, write

KINDS = ["dataset", "decoder", "encoder", "events", "fusion", "loss", "metric", "modality", "task"]


def test_there_is_a_template_for_each_kind():
    assert kinds() == KINDS


@pytest.mark.learn
@pytest.mark.parametrize("kind", KINDS)
def test_a_new_plugin_passes_its_own_checks(kind, tmp_path, monkeypatch):
    folder = write("try_out", kind, tmp_path)
    module = folder / "sensorium_try_out.py"
    assert len(module.read_text().splitlines()) < 80
    assert "ExampleName" not in module.read_text()
    entry = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["entry-points"]["sensorium"]
    assert entry == {"try_out": "sensorium_try_out"}
    monkeypatch.syspath_prepend(folder)
    monkeypatch.chdir(folder)
    try:
        findings = examine("sensorium_try_out")
    finally:
        sys.modules.pop("sensorium_try_out", None)
    assert {found.component for found in findings} == {
        "plugin sensorium_try_out" if kind == "events" else f"{kind} try_out"
    }
    assert [found for found in findings if found.ok is False] == []
    assert sum(found.ok is True for found in findings) >= (1 if kind == "events" else 2)


def test_its_tests_are_run_by_pytest(tmp_path):
    folder = write("try_out", "dataset", tmp_path)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], cwd=folder, capture_output=True, text=True
    )
    assert ran.returncode == 0, ran.stdout
    assert "1 passed" in ran.stdout


@pytest.mark.parametrize(
    ("name", "kind", "said"),
    [
        ("Try-Out", "task", "is not a name for a plugin"),
        ("class", "task", "is not a name for a plugin"),
        ("clip", "task", "is taken"),
        ("convnet", "encoder", "is taken"),
        ("try_out", "encodr", "Did you mean 'encoder'"),
    ],
)
def test_a_name_that_does_not_do_is_refused(name, kind, said, tmp_path):
    with pytest.raises(UserError, match=said):
        write(name, kind, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_there_is_left_alone(tmp_path):
    write("try_out", "loss", tmp_path)
    with pytest.raises(UserError, match="is there already"):
        write("try_out", "loss", tmp_path)
