"""One Ray cluster a module, one MLflow store and one plugin for all integration tests."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def plugin() -> None:
    """Makes the plugin `faulty` importable here and in Ray's workers."""
    sys.path.insert(0, str(HERE))
    paths = [str(HERE), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in paths if path)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An MLflow store; its first use costs seconds, so there is one."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow') / 'mlflow.db'}"


@pytest.fixture(scope="module")
def cluster(plugin: None) -> Iterator[None]:
    """A Ray of this machine with room for four workers."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    import ray

    ray.init(address="local", num_cpus=4, logging_level="ERROR")
    yield
    ray.shutdown()
