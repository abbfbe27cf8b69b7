"""Fixtures that all tests share."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

import needs

ROOT = Path(__file__).parent.parent
os.environ.setdefault(
    "SENSORIUM_ALLOW_PLUGINS", "toys,contract_toys,every_hook,faulty,where,workload"
)  # whose models are loaded again
CACHE = tempfile.TemporaryDirectory(prefix="sensorium-cache-")
os.environ["SENSORIUM_CACHE"] = CACHE.name  # what tests fetch and work out goes with them
hypothesis.settings.register_profile("the same", derandomize=True)  # what passes here passes there
hypothesis.settings.load_profile("the same")


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, which a user does not have and CI does."""
    return needs.data()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium."""
    path = needs.chromium() or needs.missing(needs.NO_BROWSER)
    from playwright.sync_api import sync_playwright

    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def buckets(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A store `s3://` in memory with one bucket, `there`."""
    from fsspec.registry import _registry

    from memory_buckets import Buckets

    monkeypatch.setattr(Buckets, "store", {})
    monkeypatch.setattr(Buckets, "pseudo_dirs", ["", "/there"])
    monkeypatch.setitem(_registry, "s3", Buckets)
    Buckets.clear_instance_cache()
    yield Buckets
    Buckets.clear_instance_cache()


@pytest.fixture(scope="session")
def artefacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where screenshots are kept."""
    folder = Path(os.environ.get("SENSORIUM_TEST_ARTEFACTS") or tmp_path_factory.mktemp("artefacts"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Holds tests on Ray to the folder that `make test` looks for them in, lest one is never run."""
    for item in items:
        if item.get_closest_marker("ray") and not item.get_closest_marker("cluster"):
            assert item.path.is_relative_to(ROOT / "tests/integration"), f"{item.nodeid} uses Ray"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts what was skipped in one line."""
    if hasattr(terminalreporter.config, "workerinput"):  # a process of xdist, whose reports are counted by its parent
        return
    # (file, line, "Skipped: why")
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in terminalreporter.stats.get("skipped", ())]
    if line := needs.note(reasons):
        terminalreporter.write_line(line)
