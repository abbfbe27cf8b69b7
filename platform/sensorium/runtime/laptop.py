"""Ray clusters of several nodes on this machine: real raylets on loopback, which ask for a token.

Every process of a node carries the node's mark in its environment, so that exactly those are found
and ended that belong to it, whoever their parent is by then.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import psutil

from sensorium.errors import SensoriumError, UserError
from sensorium.paths import expanded
from sensorium.runtime import processes
from sensorium.runtime.description import Description, Node, Ports, checked
from sensorium.training.runs import readable

DASHBOARD = "127.0.0.1"
HOSTS = "127.0.0.{}"
"""Each node has an address of its own, from 2 on: loopback too, but Ray replaces 127.0.0.1 by an outer one."""
HOST = HOSTS.format(2)
HEAD = "head"
MARK = "SENSORIUM_NODE"
"""Environment variable that says to which node a process belongs."""
PATIENCE = 120.0
"""Seconds that a node may take to start."""
ATTEMPTS = 2
"""Times that a node is started: Ray gives it 30 s, which on a busy machine may be too few."""
GRACE = 10.0
"""Seconds between the request to end and the end."""
_NOT_INHERITED = ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS", "RAY_AUTH_TOKEN", "RAY_TMPDIR", "RAY_JOB_ID")


@dataclass
class Member:
    """A node that was started.

    Attributes:
        offers: What it offers.
        host: Its address on loopback.
        devices: Numbers of its GPUs.
        processes: Number and time of creation (s) of the processes that `ray start` left.
    """

    offers: Node
    host: str
    devices: list[int]
    processes: list[tuple[int, float]] = field(default_factory=list)


@dataclass
class Cluster:
    """A cluster that was started on this machine.

    Attributes:
        name: By which commands find it.
        mark: Begins the marks of its nodes' processes.
        ports: Where it listens, on loopback.
        scratch: Folder of Ray's own files.
        members: Its nodes, by name.
    """

    name: str
    mark: str
    ports: Ports
    scratch: Path
    members: dict[str, Member] = field(default_factory=dict)

    @property
    def address(self) -> str:
        """Of the control store: what `--address` and `ray.init` take."""
        return f"{HOST}:{self.ports.control}"

    @property
    def jobs(self) -> str:
        """Of the dashboard, which takes jobs."""
        return f"http://{DASHBOARD}:{self.ports.dashboard}"

    @property
    def token(self) -> Path:
        """The file that holds the token."""
        return _states() / self.name / "token"

    def processes(self, node: str | None = None) -> list[psutil.Process]:
        """Returns the live processes of a node, or of all."""
        members = self.members.values() if node is None else [self.members[node]]
        recorded = {entry for member in members for entry in member.processes}
        return processes.marked(MARK, f"{self.mark}/{node or ''}", recorded, whole=node is not None)

    def add(self, name: str, offers: Node) -> None:
        """Starts one more node, and returns when the cluster counts it.

        Raises:
            SensoriumError: It did not start.
        """
        self._launch(name, offers)
        self._await_nodes()
        self._write()

    def kill(self, node: str) -> None:
        """Kills all processes of a node at once, as when its power fails."""
        processes.kill(lambda: self.processes(node))
        del self.members[node]
        self._write()

    def restart_control_store(self, pause: float = 0.0) -> None:
        """Kills the head's control store and starts it again with what it had written down.

        Args:
            pause: Seconds in which there is none.
        """
        server = next(process for process in self.processes(HEAD) if process.name() == "gcs_server")
        command, variables = server.cmdline(), server.environ()
        server.kill()
        processes.await_end([server], GRACE)
        time.sleep(pause)
        self._spawn(command, variables, self.scratch / "control-store.log")
        self._await_nodes()

    def stop(self) -> None:
        """Ends all processes of the cluster, and removes its token and files."""
        roots = {number for member in self.members.values() for number, _ in member.processes}
        # What is not a descendant is the writer of a run's record: it ends when it has written.
        processes.end(self.processes(), roots, GRACE)
        processes.kill(self.processes)
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.rmtree(self.token.parent, ignore_errors=True)

    def _launch(self, name: str, offers: Node) -> None:
        taken = {device for member in self.members.values() for device in member.devices}
        free = (number for number in range(len(taken) + offers.gpus) if number not in taken)
        hosts = {member.host for member in self.members.values()}
        host = next(host for number in range(2, 255) if (host := HOSTS.format(number)) not in hosts)
        member = self.members[name] = Member(offers, host, [next(free) for _ in range(offers.gpus)])
        for attempt in range(ATTEMPTS):
            log = self.scratch / f"{name}-{attempt}.log"
            if self._ray_start(name, member, log):
                break
            processes.kill(lambda: self.processes(name))
        else:
            del self.members[name]
            said = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
            raise SensoriumError(
                f"The node {name!r} did not start: {said[-1].strip().rstrip('.') if said else 'it said nothing'}.",
                hint="Try other ports, or fewer nodes.",
            )
        member.processes = [(process.pid, process.create_time()) for process in self.processes(name)]

    def _ray_start(self, name: str, member: Member, log: Path) -> bool:
        """Says whether `ray start` did what it should."""
        started = self._spawn(self._command(name, member), self._variables(name, member), log)
        try:
            return started.wait(PATIENCE) == 0
        except subprocess.TimeoutExpired:
            return False

    def _command(self, name: str, member: Member) -> list[str]:
        head = [
            "--head",
            f"--port={self.ports.control}",
            f"--dashboard-host={DASHBOARD}",
            f"--dashboard-port={self.ports.dashboard}",
            f"--ray-client-server-port={self.ports.client}",
        ]
        offers = member.offers
        return [
            *(sys.executable, "-m", "ray.scripts.scripts", "start"),
            *(head if name == HEAD else [f"--address={HOST}:{self.ports.control}"]),
            f"--node-name={name}",
            f"--node-ip-address={member.host}",
            f"--temp-dir={self.scratch / name}",
            f"--num-cpus={offers.cpus}",
            f"--num-gpus={offers.gpus}",
            f"--resources={json.dumps(offers.resources)}",
            f"--object-store-memory={offers.object_store * 2**20}",
            *("--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"),
            "--disable-usage-stats",
        ]

    def _variables(self, name: str, member: Member) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if key not in _NOT_INHERITED}
        return {
            **kept,
            MARK: f"{self.mark}/{name}",
            "SPT_NOENV": "1",  # keeps process titles from overwriting the environment, which carries the mark
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), kept.get("PATH", os.defpath)]),
            "CUDA_VISIBLE_DEVICES": ",".join(map(str, member.devices)),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token),
            "RAY_gcs_storage": "rocksdb",
            "RAY_gcs_storage_path": str(self.scratch / "control-store"),
        }

    def _spawn(self, command: list[str], variables: dict[str, str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as file:
            return subprocess.Popen(
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                cwd=self.scratch,
                start_new_session=True,
            )

    def _await_nodes(self) -> None:
        end = time.monotonic() + PATIENCE
        alive = 0
        while time.monotonic() < end:
            alive = self.alive()
            if alive >= len(self.members):
                return
            time.sleep(0.5)
        raise SensoriumError(f"Of {len(self.members)} nodes only {alive} came up within {PATIENCE:g} s.")

    def alive(self) -> int:
        """Returns the number of nodes that the cluster counts as alive; 0 if it does not answer."""
        request = urllib.request.Request(
            f"{self.jobs}/nodes?view=summary", headers={"Authorization": f"Bearer {self.token.read_text()}"}
        )
        try:
            with open_straight(request, 5) as answer:
                nodes = json.load(answer)["data"]["summary"]
        except (OSError, ValueError, KeyError):
            return 0
        return sum(node["raylet"].get("state") == "ALIVE" for node in nodes)

    def _write(self) -> None:
        record = asdict(self) | {"scratch": str(self.scratch)}
        path = _states() / self.name / "cluster.json"
        draft = path.with_suffix(".new")
        draft.touch(0o600)
        draft.write_text(json.dumps(record, indent=1))
        draft.replace(path)


class _Straight(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: it would take the token along to wherever it leads."""

    def redirect_request(self, *_: Any) -> None:
        return None


def open_straight(request: urllib.request.Request, patience: float) -> Any:
    """Returns the answer to a request that may show a token, which a redirect is not followed with.

    Raises:
        OSError: Nothing answers within `patience` (s), or with an error or a redirect.
    """
    return urllib.request.build_opener(_Straight).open(request, timeout=patience)


def start(description: Description) -> Cluster:
    """Starts a cluster and returns when all its nodes are there.

    Raises:
        UserError: One of that name runs, or a port is taken.
        SensoriumError: A node did not start; nothing is left.
    """
    for other in clusters():
        if other.name == description.name:
            if other.processes():
                raise UserError(
                    f"The cluster {other.name!r} runs already, at {other.address}.",
                    hint=f"End it with `sensorium cluster down {other.name}`, or give this one another name.",
                )
            other.stop()  # what a restart of the machine left
    _check_ports(description.ports)
    cluster = Cluster(
        name=description.name,
        mark=f"{description.name}-{secrets.token_hex(8)}",
        ports=description.ports,
        scratch=Path(tempfile.mkdtemp(prefix="sen-", dir="/tmp")),  # short: paths of sockets end at 107 characters
    )
    cluster.token.parent.mkdir(mode=0o700, parents=True)
    cluster.token.touch(0o600)
    cluster.token.write_text(secrets.token_hex(32))
    try:
        cluster._write()
        head, *others = description.nodes
        cluster._launch(HEAD, head)
        cluster._write()
        for number, offers in enumerate(others, start=1):
            cluster._launch(f"node{number}", offers)
        cluster._await_nodes()
        cluster._write()
    except BaseException:
        cluster.stop()
        raise
    return cluster


def clusters() -> list[Cluster]:
    """Returns the clusters that were started on this machine and not ended."""
    return [_read(path) for path in sorted(_states().glob("*/cluster.json"))]


def find(name_or_address: str) -> Cluster | None:
    """Returns the cluster of a name, or of an address on loopback; None if it was not started here."""
    host, _, port = name_or_address.rpartition("://")[2].rstrip("/").rpartition(":")
    for cluster in clusters():
        ports = (cluster.ports.control, cluster.ports.dashboard, cluster.ports.client)
        if name_or_address == cluster.name or (host in ("localhost", HOST, DASHBOARD) and port in map(str, ports)):
            return cluster
    return None


def _read(path: Path) -> Cluster:
    with readable(str(path), "Remove it once no process of that cluster runs."):
        record: dict[str, Any] = json.loads(path.read_text())
        nodes = [member["offers"] for member in record["members"].values()] or [{}]
        description = checked({"name": record["name"], "ports": record["ports"], "nodes": nodes}, str(path))
        members = {
            name: Member(
                offers,
                member["host"],
                member["devices"],
                [(int(pid), float(created)) for pid, created in member["processes"]],
            )
            for (name, member), offers in zip(record["members"].items(), description.nodes, strict=False)
        }
        return Cluster(record["name"], record["mark"], description.ports, Path(record["scratch"]), members)


def _states() -> Path:
    state = expanded(os.environ.get("XDG_STATE_HOME", "")) or Path.home() / ".local" / "state"
    return Path(state) / "sensorium" / "clusters"


def _check_ports(ports: Ports) -> None:
    import socket

    for name, port in asdict(ports).items():
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("", port))
            except OSError as cause:
                raise UserError(
                    f"Port {port} is taken (ports.{name}).",
                    hint="Give the cluster other ports, or end what listens there.",
                ) from cause
