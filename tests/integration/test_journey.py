"""The whole way in a shell, by somebody with a plugin of their own: cluster, job, search, endpoint, and nothing left.

The platform and the plugin are installed as wheels into a fresh environment. The cluster runs from this
one, where the plugin is not installed: its workers have it from the runtime environment alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import pytest
import torch
import yaml

from sensorium.builtin.modalities.image import Image
from sensorium.scaffold.new import write

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(1500)]

ROOT = Path(__file__).parents[2]
PORTS = {"control": 47379, "dashboard": 49265, "client": 42001}
SERVE = 47800
NAME = "try_out"
TINY = ["training.epochs=2", "tracking.system=false", "evaluation.contributions=false"]


@dataclass
class Shell:
    """A user's folder, and the commands of an environment."""

    folder: Path
    bin: Path
    variables: dict[str, str] = field(default_factory=dict)

    def __call__(self, *arguments: str, timeout: float = 420) -> str:
        """Runs a command of Sensorium, and returns what it printed."""
        done = subprocess.run(
            [self.bin / "sensorium", *arguments],
            cwd=self.folder,
            env=self.variables,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}"
        return done.stdout

    def json(self, *arguments: str) -> dict[str, object]:
        """Runs a command with --json, and returns what it printed last."""
        found: dict[str, object] = json.loads(self(*arguments, "--json").splitlines()[-1])
        return found


def wheel(source: Path, target: Path) -> Path:
    """Builds a wheel with what is installed here."""
    copy = target / source.name
    shutil.copytree(source, copy, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "runs", "tests"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-q", "-w", target, copy]
    subprocess.run(command, check=True, capture_output=True)
    return next(iter(target.glob("*.whl")))


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs of a fresh environment with the platform's wheel and a plugin's."""
    folder = tmp_path_factory.mktemp("fresh")
    plugin = write(NAME, "task", tmp_path_factory.mktemp("plugin"))
    wheels = [wheel(ROOT, tmp_path_factory.mktemp("platform")), wheel(plugin, tmp_path_factory.mktemp("wheel"))]
    uv = [sys.executable, "-m", "uv"]
    subprocess.run([*uv, "venv", "-q", "--clear", "--python", sys.executable, folder], check=True)
    for packages in (["-r", str(ROOT / "requirements.lock")], ["--no-deps", *map(str, wheels)]):
        subprocess.run([*uv, "pip", "install", "-q", "--python", str(folder / "bin" / "python"), *packages], check=True)
    return folder / "bin"


@pytest.fixture(scope="module")
def shell(environment: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    """A folder in which a cluster is up; afterwards no process of it is left."""
    folder = tmp_path_factory.mktemp("journey")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "PYTHONPATH"))}
    variables = {
        **kept,
        "PATH": f"{environment}:{os.environ['PATH']}",
        "XDG_STATE_HOME": str(folder / "state"),
        "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}",
        "OMP_NUM_THREADS": "1",
    }
    nodes = [{"cpus": 2}, {"cpus": 2}]
    (folder / "cluster.yaml").write_text(yaml.safe_dump({"name": "journey", "nodes": nodes, "ports": PORTS}))
    host = Shell(folder, Path(sys.executable).parent, variables)
    host("cluster", "up", "cluster.yaml")
    try:
        yield Shell(folder, environment, variables)
    finally:
        host("cluster", "down")
    left = [process.cmdline() for process in psutil.process_iter() if str(folder) in _marks(process)]
    assert left == []


def _marks(process: psutil.Process) -> str:
    try:
        return process.environ().get("XDG_STATE_HOME", "") if process.status() != psutil.STATUS_ZOMBIE else ""
    except psutil.Error:
        return ""


def test_from_a_plugin_to_an_endpoint_that_is_updated_under_load(shell: Shell) -> None:
    assert NAME in shell("tasks")
    host = subprocess.run([sys.executable, "-c", f"import sensorium_{NAME}"], capture_output=True, check=False)
    assert host.returncode != 0, "the cluster's own environment has no such plugin"

    # A job.
    said = shell("submit", "--address", "journey", "--wait", "--", "train", NAME, "--workers", "2", *TINY)
    assert "label_accuracy" in said

    # A search, and its best experiment trained and registered.
    found = shell.json("tune", NAME, "--trials", "4", "--address", "journey", *TINY)
    assert [trial["status"] for trial in found["trials"]] == ["finished"] * 4
    best = found["best"]["experiment"]
    first = shell.json("train", str(best), "--workers", "2", "--address", "journey", "tracking.register=best")
    second = shell.json("train", str(best), "run.seed=1", "tracking.register=best")
    assert (first["model_uri"], second["model_uri"]) == ("models:/best/1", "models:/best/2")

    # An endpoint.
    url = f"http://127.0.0.1:{SERVE}"
    shell("serve", "best=models:/best/1", "--port", str(SERVE), "--address", "journey", "--detach")
    picture = Image(Image.Config(size=8, channels=1)).example(torch.Generator().manual_seed(0))
    (shell.folder / "digit.png").write_bytes(picture)
    predicted = shell.json("predict", "models:/best/1", "image=digit.png")
    assert ask(url, picture) == predicted

    # Another version, while it is asked.
    with asked(url, picture) as answers:
        shell("serve", "--update", "best=models:/best/2", "--address", "journey")
        time.sleep(2)
    assert {status for status, _ in answers} == {200}
    assert answers[0][1] == predicted
    renewed = shell.json("predict", "models:/best/2", "image=digit.png")
    assert renewed != predicted
    assert answers[-1][1] == renewed
    with asked(url, picture) as answers:
        shell("serve", "--rollback", "best", "--address", "journey")
        time.sleep(2)
    assert {status for status, _ in answers} == {200}
    assert answers[-1][1] == predicted


def ask(url: str, picture: bytes) -> dict[str, object]:
    """Returns the endpoint's answer."""
    answer = httpx.post(f"{url}/predict", files={"image": ("digit.png", picture, "image/png")}, timeout=60)
    assert answer.status_code == 200, answer.text
    found: dict[str, object] = answer.json()
    return found


class asked:  # noqa: N801 (reads like a function)
    """Asks from two clients, some forty times a second; gives status and answer of each request in order of answers."""

    def __init__(self, url: str, picture: bytes) -> None:
        self.url, self.picture = url, picture
        self.answers: list[tuple[int, object]] = []
        self.over = threading.Event()
        self.clients = [threading.Thread(target=self._ask) for _ in range(2)]

    def __enter__(self) -> list[tuple[int, object]]:
        for client in self.clients:
            client.start()
        time.sleep(1)
        return self.answers

    def __exit__(self, *_: object) -> None:
        self.over.set()
        for client in self.clients:
            client.join()

    def _ask(self) -> None:
        with httpx.Client(timeout=60) as client:
            while not self.over.is_set():
                answer = client.post(f"{self.url}/predict", files={"image": ("a.png", self.picture, "image/png")})
                self.answers.append((answer.status_code, answer.json()))
                time.sleep(0.05)
