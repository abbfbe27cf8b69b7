"""A training over two nodes of a real cluster, through what can befall it, ends as if nothing had."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
import yaml
from server import Server

from sensorium.engine.checkpoint import open_checkpoint
from sensorium.runtime import laptop
from sensorium.runtime.description import Description, Node, Ports

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
STEPS = 64
HANGS = 15
"""Seconds after which a worker that answers nothing counts as hung, where one does."""
PATIENCE = 240.0
"""Seconds that anything may take."""


@dataclass
class Training:
    """A training by `sensorium train`, in a folder of its own.

    Attributes:
        folder: Where it is started.
        variables: The environment of the shell.
        plan: Its faults, as the plugin reads them.
    """

    folder: Path
    variables: dict[str, str]
    plan: dict[str, Any]
    process: subprocess.Popen[bytes] = field(init=False)

    def start(self, *arguments: str) -> None:
        """Starts the command, or another one that resumes the run."""
        self.write_plan()
        with (self.folder / "shown").open("ab") as shown:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sensorium.cli", "train", "--address", "faults", "--json", *arguments],
                cwd=self.folder,
                env={**self.variables, "SENSORIUM_TEST_FAULTS": str(self.folder / "plan.json")},
                stdin=subprocess.DEVNULL,
                stdout=shown,
                stderr=shown,
            )

    def write_plan(self, **changes: Any) -> None:
        """Has the workers follow another plan from their next step on."""
        self.plan |= changes
        draft = self.folder / "plan.new"
        draft.write_text(json.dumps({"ids": str(self.ids), **self.plan}))
        draft.replace(self.folder / "plan.json")

    @property
    def ids(self) -> Path:
        return self.folder / "ids"

    @property
    def run(self) -> str:
        """Name of the run."""
        (run,) = (self.folder / "runs").iterdir()
        return run.name

    def workers(self) -> list[dict[str, Any]]:
        """Returns what each worker of each execution wrote when it began."""
        path = self.ids / "workers.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def node(self, rank: int) -> str:
        """Returns the node of a worker of the latest execution."""
        return str([worker for worker in self.workers() if worker["rank"] == rank][-1]["node"])

    def executions(self) -> list[int]:
        """Returns the number of workers of each execution."""
        return [worker["workers"] for worker in self.workers() if worker["rank"] == 0]

    def step(self) -> int:
        """Returns the latest step done."""
        return max((int(path.name[:4]) for path in self.ids.glob("*of*.json")), default=0)

    def wait(self, until: Callable[[], bool]) -> None:
        """Waits, and fails when the command ends before."""
        end = time.monotonic() + PATIENCE
        while not until():
            assert self.process.poll() is None, self.shown()
            assert time.monotonic() < end, self.shown()
            time.sleep(0.05)

    def wait_for(self, step: int) -> None:
        self.wait(lambda: self.step() >= step)

    def finish(self) -> dict[str, Any]:
        """Returns what the command tells at its end."""
        self.process.wait(PATIENCE)
        assert self.process.returncode == 0, self.shown()
        told: dict[str, Any] = json.loads((self.folder / "shown").read_text().splitlines()[-1])
        return told

    def shown(self) -> str:
        return (self.folder / "shown").read_text()[-6000:]

    def samples(self) -> dict[int, Counter[str]]:
        """Returns step -> the ids that it used, as it was done the last time, over all workers."""
        groups: dict[int, dict[str, list[Path]]] = {}
        for path in self.ids.glob("*of*.json"):
            groups.setdefault(int(path.name[:4]), {}).setdefault(path.stem.partition("of")[2], []).append(path)
        last = {
            step: max(of_step.values(), key=lambda paths: max(path.stat().st_mtime_ns for path in paths))
            for step, of_step in sorted(groups.items())
        }
        return {
            step: Counter(sample for path in paths for sample in json.loads(path.read_text()))
            for step, paths in last.items()
        }


def weights(result: dict[str, Any]) -> dict[str, torch.Tensor]:
    return open_checkpoint(result["model"]).tensors("model")


def assert_same(
    result: dict[str, Any],
    training: Training,
    undisturbed: Training,
    store: Path | None = None,
    weigh: bool = True,
) -> None:
    """Compares what a training came to with what an undisturbed one did.

    Args:
        result: What it told at its end.
        training: It.
        undisturbed: The other one.
        store: MLflow's database, if not the one in its folder.
        weigh: Whether the weights are equal, as they are on the same number of workers.
    """
    samples = training.samples()
    assert list(samples) == list(range(1, STEPS + 1))
    assert samples == undisturbed.samples()
    if weigh:
        expected = weights(undisturbed.finish())
        for name, tensor in weights(result).items():
            assert torch.equal(tensor, expected[name]), name
    with sqlite3.connect(store or training.folder / "mlflow.db") as database:
        assert database.execute("select name, status from runs").fetchall() == [(training.run, "FINISHED")]
        for name in ("train/main/square", "learning_rate/main"):
            steps = database.execute("select step from metrics where key = ? order by step", (name,)).fetchall()
            assert [step for (step,) in steps] == list(range(1, STEPS + 1)), name


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def trio(home: Path, plugin: None) -> Iterator[laptop.Cluster]:
    """A head that does no work, and two nodes with room for two workers each."""
    ports = Ports(control=46479, dashboard=48365, client=41101)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(home / "state"))
        patch.setenv("OMP_NUM_THREADS", "1")
        cluster = laptop.start(
            Description(name="faults", nodes=[Node(cpus=0), Node(cpus=2), Node(cpus=2)], ports=ports)
        )
        yield cluster
        cluster.stop()


@pytest.fixture
def nodes(trio: laptop.Cluster) -> Iterator[laptop.Cluster]:
    """The cluster for tests that kill nodes: it has three again afterwards."""
    yield trio
    while len(trio.members) < 3:
        trio.add(f"more{time.monotonic_ns()}", Node(cpus=2))
    while len(trio.members) > 3:
        trio.kill(next(reversed(trio.members)))


@pytest.fixture(scope="module")
def store(home: Path) -> Path:
    """An MLflow store with its tables, which take seconds to make."""
    from mlflow import MlflowClient

    path = home / "empty.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture(scope="module")
def training(home: Path, store: Path, trio: laptop.Cluster) -> Iterator[Callable[..., Training]]:
    """Makes trainings: two workers that take a node each, unless told otherwise."""
    made = []

    def make(name: str, run: dict[str, Any] | None = None, uri: str = "", **faults: Any) -> Training:
        from faulty import Line

        end_all()  # what a failed test left would slow the next one down
        folder = home / name
        (folder / "ids").mkdir(parents=True)
        shutil.copy(HERE / "faulty.py", folder)
        shutil.copy(store, folder / "mlflow.db")
        experiment: dict[str, Any] = {
            "task": "line",
            **Line.experiment,
            "run": {"workers": 2, "resources": {"CPU": 2.0}, "max_failures": 9, **(run or {})},
            "tracking": {"system": False, **({"uri": uri} if uri else {})},
        }
        experiment["training"] = {**experiment["training"], "epochs": 8}
        (folder / "line.yaml").write_text(yaml.safe_dump(experiment))
        kept = {
            name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "MLFLOW_", "PYTHONPATH"))
        }
        variables = {**kept, "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "1"}
        made.append(Training(folder, variables, {"slow": 0.1, **faults}))
        return made[-1]

    def end_all() -> None:
        for each in made:
            if each.process.poll() is None:
                each.process.kill()
                each.process.wait()

    yield make
    end_all()


@pytest.fixture(scope="module")
def undisturbed(training: Callable[..., Training]) -> Training:
    """The training to which nothing happens."""
    made = training("undisturbed", slow=0)
    made.start("line.yaml")
    result = made.finish()
    assert made.executions() == [2]
    assert {worker["node"] for worker in made.workers()} == {"node1", "node2"}
    assert_same(result, made, made)
    return made


def test_workers_killed(training: Callable[..., Training], undisturbed: Training) -> None:
    killed = training("killed", kill=[[1, 10], [0, 20]])
    killed.start("line.yaml")
    result = killed.finish()
    assert killed.executions() == [2, 2, 2]
    assert_same(result, killed, undisturbed)


def test_workers_that_hang(training: Callable[..., Training], undisturbed: Training) -> None:
    hung = training("hung", {"timeout": HANGS}, stop=[[1, 10], [0, 20]])
    hung.start("line.yaml")
    result = hung.finish()
    assert {path.name for path in hung.ids.glob("stopped-*")} == {"stopped-1-10", "stopped-0-20"}
    assert hung.executions() == [2, 2, 2]
    left = [worker for worker in hung.workers() if psutil.pid_exists(worker["process"])]
    assert left == [], "they are ended, and not only given up"
    assert_same(result, hung, undisturbed)


def test_a_node_killed_and_replaced(
    training: Callable[..., Training], undisturbed: Training, nodes: laptop.Cluster
) -> None:
    lost = training("lost", slow=0.3)
    lost.start("line.yaml")
    lost.wait_for(12)
    nodes.kill(lost.node(0))
    nodes.add("replacement", Node(cpus=2))
    result = lost.finish()
    assert lost.executions() == [2, 2]
    assert "replacement" in {worker["node"] for worker in lost.workers()}
    assert_same(result, lost, undisturbed)


def test_the_driver_killed_and_the_run_resumed(training: Callable[..., Training], undisturbed: Training) -> None:
    left = training("left")
    left.start("line.yaml")
    left.wait_for(20)
    left.process.kill()
    left.process.wait()
    left.start("--resume", left.run)
    result = left.finish()
    assert left.executions() == [2, 2]
    assert left.workers()[-1]["resumed_from"] >= 18, "it goes on, and does not begin again"
    assert_same(result, left, undisturbed)


def test_the_control_store_killed_and_started_again(
    training: Callable[..., Training], undisturbed: Training, nodes: laptop.Cluster
) -> None:
    going = training("going", slow=0.3)
    going.start("line.yaml")
    going.wait_for(12)
    nodes.restart_control_store(pause=3.0)
    result = going.finish()
    assert going.executions() == [2], "the training does not notice"
    assert_same(result, going, undisturbed)


def test_the_server_of_the_record_away_for_half_a_minute(
    training: Callable[..., Training], undisturbed: Training, store: Path, tmp_path: Path
) -> None:
    shutil.copy(store, tmp_path / "server.db")
    server = Server(tmp_path)
    server.start()
    try:
        server.wait()
        away = training("away", uri=server.uri, kill=[[0, 40]])
        away.start("line.yaml")
        away.wait_for(15)
        server.kill()
        time.sleep(30)
        assert away.step() >= 40, "the training does not wait for it"
        server.start()
        result = away.finish()
    finally:
        server.kill()
    assert_same(result, away, undisturbed, tmp_path / "server.db")


def test_two_of_four_workers_lost_and_two_come_back(
    training: Callable[..., Training], undisturbed: Training, nodes: laptop.Cluster
) -> None:
    elastic = training("elastic", {"workers": [2, 4], "resources": {"CPU": 1.0}, "timeout": 30}, slow=0.5)
    elastic.start("line.yaml")
    elastic.wait_for(8)
    elastic.write_plan(slow=2)
    nodes.kill(elastic.node(3))
    elastic.wait(lambda: elastic.executions() == [4, 2])
    before = elastic.step()
    elastic.wait_for(before + 2)
    nodes.add("another", Node(cpus=2))
    elastic.wait(lambda: elastic.executions() == [4, 2, 4])
    elastic.write_plan(slow=0)
    assert_same(elastic.finish(), elastic, undisturbed, weigh=False)


def test_a_notice_of_preemption_gives_a_checkpoint_before_the_node_goes(
    training: Callable[..., Training], undisturbed: Training, nodes: laptop.Cluster
) -> None:
    nodes.add("spare", Node(cpus=2))
    noticed = training("noticed", slow=1)
    noticed.start("line.yaml", "training.checkpoints={epochs: 8}")
    noticed.wait_for(5)
    going = noticed.node(1)
    begin = noticed.step()
    announce_end(nodes, going, seconds=10)
    noticed.wait(lambda: len(noticed.executions()) == 2)
    nodes.kill(going)
    noticed.write_plan(slow=0)
    result = noticed.finish()
    assert noticed.workers()[-1]["resumed_from"] >= begin, "no other checkpoint was due"
    assert going not in {worker["node"] for worker in noticed.workers()[2:]}
    assert_same(result, noticed, undisturbed)


def announce_end(cluster: laptop.Cluster, node: str, seconds: int) -> None:
    """Tells a cluster that a node will be taken away, as the clouds' autoscalers do."""
    raylet = next(process for process in cluster.processes(node) if process.name() == "raylet")
    (number,) = (part.partition("=")[2] for part in raylet.cmdline() if part.startswith("--node_id="))
    options = ["--address", cluster.address, "--node-id", number, "--deadline-remaining-seconds", str(seconds)]
    options += ["--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "spot"]
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(cluster.token)}
    command = [sys.executable, "-m", "ray.scripts.scripts", "drain-node", *options]
    done = subprocess.run(command, env=os.environ | token, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
