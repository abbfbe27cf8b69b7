"""What of Ray listens beyond loopback: each part is found where its process listens, and nothing of others."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from sensorium.errors import SensoriumError
from sensorium.runtime import listening
from sensorium.runtime.listening import Port, beyond_loopback, check_guarded, is_loopback, told

LISTEN = """
import socket, sys, time
host = sys.argv[1]
s = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
s.bind((host, 0)); s.listen()
print(s.getsockname()[1], flush=True); time.sleep(60)
"""


@pytest.fixture
def listen(tmp_path):
    """Starts a process of some name that listens on a host; returns it and its port."""
    started = []

    def start(name, host, *arguments, **variables):
        program = tmp_path / name
        if not program.exists():
            program.symlink_to(Path(sys.executable).resolve())
        process = subprocess.Popen(
            [str(program), "-c", LISTEN, host, *arguments],
            env={**os.environ, "RAY_AUTH_MODE": "", **variables},
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return psutil.Process(process.pid), int(process.stdout.readline())

    yield start
    for process in started:
        process.kill()
        process.communicate()


PARTS = {
    "control store": ("gcs_server",),
    "raylet": ("raylet",),
    "agent": ("python", "/x/ray/dashboard/agent.py"),
    "dashboard": ("python", "/x/ray/dashboard/dashboard.py"),
    "runtime environments": ("python", "/x/ray/_private/runtime_env/agent/main.py"),
    "autoscaler": ("python", "/x/ray/autoscaler/v2/monitor.py"),
    "client server": ("python", "ray.util.client.server"),
    "Serve's proxy": ("haproxy", "haproxy"),
    "Serve's replica": ("python", "ray::ServeReplica:sensorium:Ingress"),
    "worker": ("python", "ray::RayTrainWorker"),
}


@pytest.mark.parametrize("part", PARTS)
def test_each_part_is_found_where_it_listens(listen, part):
    name, *arguments = PARTS[part]
    process, port = listen(name, "0.0.0.0", *arguments)
    assert beyond_loopback([process]) == [Port(port, part, guarded=False)]


def test_in_one_list_are_both_families_and_neither_loopback_nor_others(listen):
    hosts = ("0.0.0.0", "::", "127.0.0.1", "::1")
    processes, ports = zip(*(listen("gcs_server", host, RAY_AUTH_MODE="token") for host in hosts), strict=True)
    other, _ = listen("python", "0.0.0.0")
    assert beyond_loopback([*processes, other]) == sorted(Port(port, "control store", True) for port in ports[:2])
    assert set(ports[:2]) <= {port.number for port in beyond_loopback()}


def test_what_runs_code_asks_for_a_token():
    check_guarded([Port(1, "raylet", guarded=True), Port(2, "agent", guarded=False)])
    with pytest.raises(SensoriumError, match=r"at port 6379 \(control store\), and asks for no token"):
        check_guarded([Port(6379, "control store", guarded=False)])


def test_what_listens_is_told():
    assert told([]) == "on loopback alone"
    assert told([Port(1, "agent", True), Port(2, "worker", True)]).startswith("beyond loopback at port 1 (agent), 2 (")


@pytest.mark.parametrize(
    ("host", "inside"),
    [
        *(("127.0.0.1", True), ("127.0.0.2", True), ("::1", True), ("localhost", True), ("::ffff:127.0.0.1", True)),
        *(("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("::ffff:10.0.0.1", False)),
    ],
)
def test_loopback(host, inside):
    assert is_loopback(host) == inside


def test_the_family_is_this_process_and_what_descends_from_it(listen):
    process, _ = listen("python", "127.0.0.1")
    assert {psutil.Process(), process} <= set(listening.family())
