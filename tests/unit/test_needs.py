"""What tests need is found or set up; what is missing is skipped and counted in one line, and fails in CI."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
CASES = """
def test_one(data): pass
def test_other(data): pass
def test_page(browser): pass
"""


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def run(place: Path, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs Python in a folder of its own on a machine that has what lies in `bin`, and nothing else."""
    bare = {"PATH": str(place / "bin"), "HOME": str(place), "PYTHONPATH": str(TESTS), **variables}
    (place / "bin").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, *command], cwd=place, env=bare, capture_output=True, text=True, check=False, timeout=120
    )


def tried(place: Path, *options: str, **variables: str) -> tuple[int, list[str]]:
    """Runs the three cases; returns the status and the lines that count what was skipped."""
    (place / "test_it.py").write_text(CASES)
    done = run(place, "-m", "pytest", "-p", "conftest", "-p", "no:cacheprovider", *options, "test_it.py", **variables)
    return done.returncode, [line for line in done.stdout.splitlines() if "skipped: " in line]


LINE = (
    "3 tests were skipped: 1 without Chromium (install it, or CHROMIUM=PATH), "
    "2 without real data (SENSORIUM_TEST_DATA=FOLDER, see CONTRIBUTING.md)."
)


@pytest.mark.parametrize("options", [(), ("-n", "2", "--dist", "loadfile")], ids=["one process", "two"])
def test_a_bare_machine_skips_and_counts_in_one_line(tmp_path, options):
    assert tried(tmp_path, *options) == (0, [LINE])


def test_what_lies_beside_the_checkout_is_not_looked_for(tmp_path):
    beside = tmp_path / "shared" / "data"
    beside.mkdir(parents=True)
    (beside / "README.md").touch()
    (tmp_path / "checkout" / "tests").mkdir(parents=True)
    for name in ("conftest.py", "needs.py"):
        (tmp_path / "checkout" / "tests" / name).write_bytes((TESTS / name).read_bytes())
    assert tried(tmp_path / "checkout", PYTHONPATH=str(tmp_path / "checkout" / "tests")) == (0, [LINE])


@pytest.mark.parametrize("has_data", [False, True], ids=["no data", "no browser"])
def test_nothing_may_be_missing_where_the_data_are_named(tmp_path, has_data):
    folder = tmp_path / "data"
    folder.mkdir()
    if has_data:
        (folder / "README.md").touch()
    assert tried(tmp_path, SENSORIUM_TEST_DATA=str(folder)) == (1, [])


def test_several_runs_are_told_of_together(tmp_path):
    for options in ((), ("-n", "2")):
        assert tried(tmp_path, *options, SENSORIUM_TEST_SKIPPED="skips") == (0, [])
    said = run(tmp_path, str(TESTS / "needs.py"), "told", "skips").stdout
    assert said.startswith("6 tests were skipped: 2 without Chromium")
    assert run(tmp_path, str(TESTS / "needs.py"), "told", "none").stdout == ""


def found(place: Path, **variables: str) -> str:
    return run(place, "-c", "import needs; print(needs.chromium())", **variables).stdout.strip()


def test_a_chromium_is_one_that_runs(tmp_path):
    program(tmp_path / "bin" / "chromium-browser", "exit 1  # says where to get one")
    assert found(tmp_path) == "None"
    works = program(tmp_path / "bin" / "google-chrome", "exit 0")
    assert found(tmp_path) == str(works)
    other = program(tmp_path / "other", "exit 0")
    assert found(tmp_path, CHROMIUM=str(other)) == str(other), "what is named goes first"
    wrong = run(tmp_path, str(TESTS / "needs.py"), "set-up", CHROMIUM="/nowhere")
    assert (wrong.returncode, "CHROMIUM is /nowhere" in wrong.stderr, "Traceback" in wrong.stderr) == (1, True, False)


def set_up(place: Path, root: bool) -> str:
    """Sets a Chromium up where Playwright's download is a program that notes that it was asked."""
    code = f"""
import os, sys, needs
os.geteuid = lambda: {0 if root else 1000}
sys.executable = "{place}/bin/python"
needs.set_up()
"""
    done = run(place, "-c", code)
    assert done.returncode == 0, done.stderr
    asked = place / "asked"
    return asked.read_text() if asked.exists() else ""


@pytest.mark.parametrize(
    ("root", "apt_works", "asked"),
    [(True, True, "apt update apt install"), (True, False, "apt update playwright"), (False, True, "playwright")],
    ids=["root", "root without a mirror", "anybody"],
)
def test_what_is_missing_is_installed(tmp_path, root, apt_works, asked):
    note, chromium = f"echo $1 >> {tmp_path}/asked", tmp_path / "bin" / "chromium"
    made = f"echo '#!/bin/sh' > {chromium}; /bin/chmod 755 {chromium}"
    apt = f'echo "apt $1" >> {tmp_path}/asked; [ $1 = update ] || {{ {made}; }}; '
    program(tmp_path / "bin" / "apt-get", apt + ("exit 0" if apt_works else "exit 1"))
    program(tmp_path / "bin" / "python", note.replace("$1", "playwright"))
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    assert " ".join(set_up(tmp_path, root).split()) == asked
    before = set_up(tmp_path, root)
    assert (before.count("apt") > asked.count("apt")) is (root and not apt_works), (
        "what is there is not installed again"
    )
