"""A cluster of three nodes on this machine, really started; jobs on it; and nothing left of it."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import yaml

from sensorium.runtime import laptop

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(600)]

HERE = Path(__file__).parent
SBATCH = HERE.parents[1] / "clusters" / "slurm" / "sensorium.sbatch"
CANARY = "canary-7c1f52"
SECRETS = ("SENSORIUM_API_KEY", "AWS_SECRET_ACCESS_KEY", "RAY_AUTH_TOKEN", "MLFLOW_TRACKING_PASSWORD")
PORTS = {"control": 46379, "dashboard": 48265, "client": 41001}


@dataclass
class Place:
    """A user's folder, and the environment of the shell in it."""

    folder: Path
    variables: dict[str, str]

    def shell(self, *arguments: str, status: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of Sensorium."""
        done = subprocess.run(
            [sys.executable, "-m", "sensorium.cli", *arguments],
            cwd=self.folder,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == status, done.stdout[-4000:] + done.stderr[-4000:]
        return done


def fill(folder: Path) -> None:
    """Writes a small experiment and the modules that it names."""
    from faulty import Line

    for module in ("faulty.py", "where.py"):
        shutil.copy(HERE / module, folder)
    experiment = {
        "task": "line",
        **Line.experiment,
        "plugins": ["faulty", "where"],
        "run": {"workers": 2, "resources": {"CPU": 1.0}},
        "tracking": {"system": False},
    }
    (folder / "line.yaml").write_text(yaml.safe_dump(experiment))


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("RAY_", "MLFLOW_", "PYTHONPATH"))}
    return {**kept, "XDG_STATE_HOME": str(folder / "state"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, plugin: None) -> Place:
    folder = tmp_path_factory.mktemp("submit")
    work = folder / "work"
    work.mkdir()
    fill(work)
    nodes = [{"cpus": 1}] * 3
    (work / "cluster.yaml").write_text(yaml.safe_dump({"name": "trio", "nodes": nodes, "ports": PORTS}))
    return Place(work, environment(folder))


@pytest.fixture(scope="module")
def trio(place: Place) -> Iterator[laptop.Cluster]:
    """The cluster, started by a shell that holds secrets."""
    secrets = dict.fromkeys(SECRETS, CANARY)
    place.shell("cluster", "up", "cluster.yaml", **secrets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", place.variables["XDG_STATE_HOME"])
        found = laptop.find("trio")
        assert found is not None
        yield found
        if laptop.find("trio") is not None:
            found.stop()


def runs(process: psutil.Process) -> bool:
    """Says whether it does; what has ended may wait for its parent to take note."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def job_of(done: subprocess.CompletedProcess[str]) -> str:
    words = done.stdout.split() + done.stderr.split()
    return next(word for word in words if word.startswith("raysubmit_")).rstrip(",:")


def test_a_job_trains_over_two_nodes_and_writes_where_it_was_sent_from(place: Place, trio: laptop.Cluster) -> None:
    assert stat.S_IMODE(trio.token.stat().st_mode) == 0o600
    assert trio.alive() == 3
    status = json.loads(place.shell("cluster", "status", "--json").stdout)["trio"]
    assert (status["alive"], set(status["nodes"])) == (3, {"head", "node1", "node2"})

    secrets = dict.fromkeys(SECRETS, CANARY)
    done = place.shell("submit", "--address", "trio", "--", "train", "line.yaml", **secrets)
    (run,) = (place.folder / "runs").iterdir()
    assert f"run      {run.name}" in done.stdout, "the log is streamed"
    nodes = [path.read_text() for path in sorted(run.glob("where-*"))]
    assert len(nodes) == 2
    assert len(set(nodes)) == 2, nodes
    with sqlite3.connect(place.folder / "mlflow.db") as store:
        assert store.execute("select name, status from runs").fetchall() == [(run.name, "FINISHED")]
        (steps,) = store.execute("select count(*) from metrics where key = 'train/main/square'").fetchone()
    assert steps == 32

    job = job_of(done)
    (line,) = place.shell("jobs", "--address", trio.jobs).stdout.splitlines()
    assert line.split()[:2] == [job, "SUCCEEDED"]
    assert place.shell("logs", job).stdout == done.stdout

    hidden = [CANARY.encode(), trio.token.read_bytes()]
    looked_at = 0
    for path in [*place.folder.rglob("*"), *trio.scratch.rglob("*")]:
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            looked_at += 1
            assert not any(secret in content for secret in hidden), path
    assert looked_at > 30
    assert not any(secret.decode() in done.stdout + done.stderr for secret in hidden)


def test_a_training_from_here_finds_the_cluster_and_its_token_by_name(place: Place, trio: laptop.Cluster) -> None:
    done = place.shell("train", "line.yaml", "training.epochs=1", "--address", "trio", "--json")
    run = Path(json.loads(done.stdout.splitlines()[-1])["model"]).parent
    assert len({path.read_text() for path in run.glob("where-*")}) == 2


def test_a_job_that_fails_ends_as_it_failed(place: Place, trio: laptop.Cluster) -> None:
    done = place.shell("submit", "--", "evaluate", "nowhere", status=2)
    assert "nowhere is not a folder" in done.stdout


def test_a_job_can_be_left_and_stopped(place: Place, trio: laptop.Cluster) -> None:
    job = job_of(place.shell("submit", "--detach", "--", "train", "line.yaml", "training.epochs=100000"))
    following = subprocess.Popen(
        [sys.executable, "-m", "sensorium.cli", "logs", job, "--follow"],
        cwd=place.folder,
        env=place.variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert following.stdout is not None
    following.stdout.readline()  # it runs, and is shown
    following.send_signal(2)
    _, said = following.communicate(timeout=60)
    assert following.returncode == 130
    assert f"The job {job} goes on" in said
    listed = {entry["id"]: entry["status"] for entry in json.loads(place.shell("jobs", "--json").stdout)}
    assert listed[job] == "RUNNING"
    assert place.shell("stop", job).stdout == f"{job} STOPPED\n"


@pytest.mark.parametrize(
    ("arguments", "token", "said"),
    [
        (["jobs", "--address", "http://127.0.0.1:48265"], "wrong", "does not take the token"),
        (["submit", "--address", "http://127.0.0.1:48265", "--", "tasks"], "wrong", "does not take the token"),
        (["jobs", "--address", "http://127.0.0.1:48265"], "", "asks for a token, and there is none"),
        (["train", "line.yaml", "--address", "127.0.0.1:46379"], "wrong", "does not take the token"),
        (["train", "line.yaml", "--address", "127.0.0.1:46379"], "", "asks for a token, and there is none"),
        (["jobs", "--address", "http://127.0.0.1:9"], "", "There is no Ray cluster at http://127.0.0.1:9"),
        (["train", "line.yaml", "--address", "127.0.0.1:9"], "", "There is no Ray cluster at 127.0.0.1:9"),
    ],
)
def test_who_has_no_token_is_told_so(
    place: Place, trio: laptop.Cluster, tmp_path: Path, arguments: list[str], token: str, said: str
) -> None:
    stranger = {"XDG_STATE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    if token:
        stranger |= {"RAY_AUTH_TOKEN": token, "RAY_AUTH_MODE": "token"}
    begin = time.monotonic()
    done = place.shell(*arguments, status=2, **stranger)
    assert time.monotonic() - begin < 45
    assert said in done.stderr
    assert done.stderr.count("Error: ") == 1
    assert "Traceback" not in done.stderr


def test_nodes_come_and_go_and_the_control_store_comes_back(trio: laptop.Cluster) -> None:
    before = {process.pid for process in trio.processes()}
    gone = trio.processes("node2")
    trio.kill("node2")
    assert not any(runs(process) for process in gone)
    trio.add("node3", laptop.Node(cpus=1))
    assert set(trio.members) == {"head", "node1", "node3"}
    assert trio.alive() >= 3
    trio.restart_control_store()
    names = [process.name() for process in trio.processes("head")]
    assert names.count("gcs_server") == 1
    assert before & {process.pid for process in trio.processes("node1")}, "the other nodes stay"


def test_down_leaves_nothing(place: Place, trio: laptop.Cluster) -> None:
    running = trio.processes()
    assert len(running) > 10
    said = place.shell("cluster", "down", "cluster.yaml").stdout
    assert said.startswith("trio is down, ")
    assert [process for process in running if runs(process)] == []
    assert trio.processes() == []
    assert not trio.scratch.exists()
    assert not trio.token.exists()
    assert place.shell("cluster", "status").stdout.startswith("No cluster was started here.")
    assert "There is no cluster 'trio'" in place.shell("cluster", "down", "trio", status=2).stderr


# ---------------------------------------------------------------------------------------- Slurm

SRUN = """#!/bin/bash
# Runs a step here, as Slurm would on the node that it names.
while [[ $1 == --* ]]; do case $1 in --nodelist=*) export SENSORIUM_NODE=slurm/${1#*=};; esac; shift; done
[ "$1 $2" = "hostname --ip-address" ] && { echo 127.0.0.2; exit; }
exec "$@"
"""
SCONTROL = """#!/bin/bash
[ "$1 $2 $3" = "show hostnames node[1-2]" ] && printf 'node1\\nnode2\\n'
"""


def test_the_slurm_script_trains_over_its_nodes(place: Place, tmp_path: Path) -> None:
    work, stubs, short = tmp_path / "work", tmp_path / "stubs", Path("/tmp") / f"sl{os.getpid()}"
    for folder in (work, stubs, short):
        folder.mkdir()
    fill(work)
    for name, text in (("srun", SRUN), ("scontrol", SCONTROL)):
        (stubs / name).write_text(text)
        (stubs / name).chmod(0o755)
    variables = {
        **environment(tmp_path),
        "PATH": f"{stubs}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "RAY_TMPDIR": str(short),
        "SLURM_JOB_ID": "2731",
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_CPUS_PER_TASK": "1",
        "SLURM_GPUS_ON_NODE": "0",
        "SENSORIUM_TEST_SLURM": str(short),
    }
    try:
        done = subprocess.run(
            ["bash", str(SBATCH), "train", "line.yaml", "training.epochs=1"],
            cwd=work,
            env=variables,
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        (run,) = (work / "runs").iterdir()
        assert {path.read_text() for path in run.glob("where-*")} == {"node1", "node2"}
        assert not list(tmp_path.glob(".sensorium-*")), "the token is gone"
        time.sleep(3)
        assert left(short) == []
    finally:
        for process in left(short):
            process.kill()
        shutil.rmtree(short, ignore_errors=True)


def left(mark: Path) -> list[psutil.Process]:
    """Returns what the script left running."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("SENSORIUM_TEST_SLURM") == str(mark) and runs(process):
                found.append(process)
        except psutil.Error:
            continue
    return found
