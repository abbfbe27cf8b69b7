"""Which processes belong to a cluster, and that they alone are ended. Real processes, no Ray."""

import json
import os
import socket
import stat
import subprocess
import sys
import time

import psutil
import pytest

from sensorium.errors import UserError
from sensorium.runtime import laptop
from sensorium.runtime.description import Description, Node, Ports

SLEEP = "import time; time.sleep(60)"
# Leaves a process that is nobody's child, as Ray's own and the writer of a record are.
ORPHAN = f"""
import subprocess, sys
quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}], **quiet).pid)
"""


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(laptop, "GRACE", 2.0)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    members = {"head": laptop.Member(Node(), "127.0.0.2", []), "node1": laptop.Member(Node(), "127.0.0.2", [])}
    made = laptop.Cluster("toy", "toy-1f", Ports(), scratch, members)
    made.token.parent.mkdir(parents=True)
    made.token.write_text("t0ken")
    yield made
    for process in made.processes():
        process.kill()


def runs(pid):
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != "zombie"


def orphan(mark: str) -> int:
    variables = {**os.environ, laptop.MARK: mark}
    done = subprocess.run([sys.executable, "-c", ORPHAN], env=variables, capture_output=True, text=True, check=True)
    return int(done.stdout)


def test_a_process_belongs_to_the_node_whose_mark_it_bears(cluster):
    head, node = orphan("toy-1f/head"), orphan("toy-1f/node1")
    strangers = [orphan("toy-2e/head"), orphan("toy-1f2/head")]
    assert {process.pid for process in cluster.processes("head")} == {head}
    assert {process.pid for process in cluster.processes("node1")} == {node}
    assert {process.pid for process in cluster.processes()} == {head, node}
    cluster.kill("node1")
    assert not runs(node)
    assert list(cluster.members) == ["head"]
    cluster.stop()
    assert not runs(head)
    assert not cluster.scratch.exists()
    assert not cluster.token.parent.exists()
    for stranger in strangers:
        assert psutil.Process(stranger).is_running()
        psutil.Process(stranger).kill()


def test_a_child_without_the_mark_belongs_as_well(cluster):
    code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {SLEEP!r}], env={{}}); {SLEEP}"
    parent = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, laptop.MARK: "toy-1f/head"})
    end = time.monotonic() + 10
    while len(cluster.processes("head")) < 2 and time.monotonic() < end:
        time.sleep(0.05)
    both = {process.pid for process in cluster.processes("head")}
    assert len(both) == 2
    cluster.kill("head")
    parent.wait(10)
    assert not any(runs(pid) for pid in both)


def test_stop_asks_before_it_kills(cluster, tmp_path):
    said = tmp_path / "said"
    code = (
        "import signal, sys, time, pathlib\n"
        f"signal.signal(signal.SIGTERM, lambda *_: (pathlib.Path({str(said)!r}).write_text('asked'), sys.exit()))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\ntime.sleep(60)"
    )
    asked = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, laptop.MARK: "toy-1f/head"})
    while not (tmp_path / "ready").exists():
        time.sleep(0.05)
    created = psutil.Process(asked.pid).create_time()
    cluster.members["head"].processes = [(asked.pid, created)]
    cluster.stop()
    assert said.read_text() == "asked"


def test_the_record_comes_back_as_it_was_written(cluster):
    cluster.members["head"].processes = [(12, 34.5)]
    cluster.members["node1"] = laptop.Member(
        Node(cpus=3, gpus=1, resources={"disk": 1.0}), "127.0.0.3", [1], [(5, 6.0)]
    )
    cluster._write()
    path = cluster.token.parent / "cluster.json"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert laptop.clusters() == [cluster]
    for address in (
        "toy",
        cluster.address,
        cluster.jobs,
        "127.0.0.1:6379",
        "localhost:6379",
        "http://127.0.0.1:8265/",
        "ray://127.0.0.1:10001",
    ):
        assert laptop.find(address) == cluster
    for address in ("tox", "10.0.0.1:6379", "auto", "http://127.0.0.1:8266"):
        assert laptop.find(address) is None
    assert "t0ken" not in path.read_text()


def test_a_recorded_number_that_somebody_else_has_now_is_left_alone(cluster):
    stranger = subprocess.Popen([sys.executable, "-c", SLEEP])
    cluster.members["head"].processes = [(stranger.pid, 1.0)]
    assert cluster.processes() == []
    cluster.stop()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_gpus_are_dealt_out_once(cluster, monkeypatch):
    class Done:
        def wait(self, timeout):
            return 0

    spawned = []
    monkeypatch.setattr(laptop.Cluster, "_spawn", lambda self, command, env, log: spawned.append(env) or Done())
    cluster.members.clear()
    for name, gpus in (("head", 1), ("node1", 2), ("node2", 0)):
        cluster._launch(name, Node(gpus=gpus))
    del cluster.members["head"]
    cluster._launch("node3", Node(gpus=2))
    assert [variables["CUDA_VISIBLE_DEVICES"] for variables in spawned] == ["0", "1,2", "", "0,3"]
    assert [member.host[-1] for member in cluster.members.values()] == ["3", "4", "2"], "no two have one address"


def test_a_node_shows_no_token_and_joins_no_other_cluster(cluster, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "another")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    variables = cluster._variables("head", cluster.members["head"])
    assert "RAY_AUTH_TOKEN" not in variables
    assert "RAY_ADDRESS" not in variables
    assert variables["RAY_AUTH_MODE"] == "token"
    assert variables["RAY_AUTH_TOKEN_PATH"] == str(cluster.token)
    command = cluster._command("node1", laptop.Member(Node(cpus=2), "127.0.0.3", []))
    assert "--node-ip-address=127.0.0.3" in command
    assert "t0ken" not in json.dumps([command, variables])


def test_a_taken_port_is_told_and_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with socket.socket() as taken:
        taken.bind(("127.0.0.2", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ports = Ports(control=port, dashboard=1024, client=1025)
        with pytest.raises(UserError, match=rf"Port {port} is taken \(ports\.control\)"):
            laptop.start(Description(name="toy", nodes=[Node()], ports=ports))
    assert laptop.clusters() == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["{", "[]", '{"name": "toy"}', '{"members": []}'])
def test_a_record_that_somebody_changed_is_named(cluster, content):
    cluster._write()
    path = cluster.token.parent / "cluster.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"{path} is not what Sensorium wrote"):
        laptop.clusters()
