"""What tests need beyond Python: a Chromium and real data. What is missing is set up, skipped and counted.

    python tests/needs.py set-up        # finds a Chromium or installs one; `make test` does so before the tests
    python tests/needs.py told FILE     # prints the line of what was skipped in several runs of pytest

Where SENSORIUM_TEST_DATA names the folder of real data, as in CI, nothing may be missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest

DATA = "SENSORIUM_TEST_DATA"
SKIPPED = "SENSORIUM_TEST_SKIPPED"
"""Names the file to which each run of pytest adds why it skipped, where several are told of in one line."""
NO_DATA = f"real data ({DATA}=FOLDER, see CONTRIBUTING.md)"
NO_BROWSER = "Chromium (install it, or CHROMIUM=PATH)"
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_WANTED = "without "


def missing(what: str) -> NoReturn:
    """Skips the test for want of something; fails it where nothing may be missing."""
    if os.environ.get(DATA):
        pytest.fail(f"{_WANTED}{what}, although {DATA} is set")
    pytest.skip(_WANTED + what)


def data() -> Path:
    """Returns the folder of real data; without one the test is skipped."""
    named = os.environ.get(DATA)
    if not named:
        missing(NO_DATA)
    folder = Path(named).resolve()
    if not (folder / "README.md").is_file():
        pytest.fail(f"there is no README.md in {folder}, which {DATA} names: set it to the folder of real data")
    return folder


def chromium() -> str | None:
    """Returns the program of a Chromium that runs here: CHROMIUM's, one on the PATH, or Playwright's own."""
    if named := os.environ.get("CHROMIUM"):
        if not _runs(named):
            pytest.fail(f"CHROMIUM is {named}, which does not run: set it to the program of a Chromium")
        return named
    return next(filter(_runs, filter(None, map(shutil.which, _NAMES))), None) or next(
        filter(_runs, _downloaded()), None
    )


def set_up() -> None:
    """Installs a Chromium where none is found: by apt-get as root, else by Playwright; both may fail."""
    if chromium():
        return
    commands = [[sys.executable, "-m", "playwright", "install", "--no-shell", "chromium"]]
    if os.geteuid() == 0 and shutil.which("apt-get"):
        commands[:0] = [["sh", "-c", "apt-get update -qq && apt-get install -y -qq chromium"]]
    for command in commands:
        print("Installing Chromium for the tests of pages:", command[-1], flush=True)
        try:
            # Standard output is long; what goes wrong is told on standard error.
            subprocess.run(command, check=False, timeout=600, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        except subprocess.TimeoutExpired:
            print("This took more than 10 minutes, and was given up.", flush=True)
        if chromium():
            return


def told(reasons: Iterable[str]) -> str:
    """Returns one line that counts what was skipped and says how to have it run; empty where nothing was."""
    counts = Counter(reasons)
    if not counts:
        return ""
    total = sum(counts.values())
    parts = ", ".join(f"{count} {reason}" for reason, count in sorted(counts.items()))
    return f"{total} test{'s were' if total > 1 else ' was'} skipped: {parts}."


def note(reasons: list[str]) -> str:
    """Returns the line of a run of pytest; empty where its reasons went into a file, to be told with others'."""
    if file := os.environ.get(SKIPPED):
        with Path(file).open("a", encoding="utf-8") as lines:
            lines.writelines(json.dumps(reason) + "\n" for reason in reasons)
        return ""
    return told(reasons)


def _runs(program: str) -> bool:
    # Ubuntu's `chromium-browser` is a script that says where to get one; Playwright's may lack libraries.
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return answer.returncode == 0


def _downloaded() -> Iterator[str]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        path = playwright.chromium.executable_path
    yield path


if __name__ == "__main__":
    if sys.argv[1] == "set-up":
        try:
            set_up()
        except pytest.fail.Exception as wrong:
            sys.exit(str(wrong))
    elif (file := Path(sys.argv[2])).exists() and (
        line := told(map(json.loads, file.read_text(encoding="utf-8").splitlines()))
    ):
        print(line)
