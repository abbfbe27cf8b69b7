"""One Ray cluster a module, one MLflow store and one plugin for all integration tests; and a reader who types."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from documents import words
from recording import warm

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


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[str], str]]:
    """Does what a line of a shell says, in this process if it is for `sensorium`; returns what it prints."""
    from sensorium.cli.main import main

    def type_in(line: str) -> str:
        program, *arguments = words(line)
        if program == "cd":
            os.chdir(arguments[0])
            return ""
        if program == "python":
            return subprocess.run([sys.executable, *arguments], check=True, capture_output=True, text=True).stdout
        assert program == "sensorium", line
        monkeypatch.setattr(sys, "argv", [program, *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert not ended.value.code, f"{line}\n{out}\n{err}"
        return out

    with warm():
        yield type_in
