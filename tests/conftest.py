"""Fixtures that all tests share."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real data, which a user does not have and CI does."""
    folder = Path(os.environ.get("SENSORIUM_TEST_DATA", ROOT.parent / "shared" / "data")).resolve()
    if not (folder / "README.md").is_file():
        pytest.fail(f"no real data at {folder}: set SENSORIUM_TEST_DATA to the folder that holds it")
    return folder
