"""Which ports of Ray's processes on this machine listen beyond loopback, and what is said of them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

from sensorium.errors import SensoriumError

PARTS = (
    ("gcs_server", "control store"),
    ("raylet", "raylet"),
    ("runtime_env/agent", "runtime environments"),
    ("RuntimeEnvAgent", "runtime environments"),
    ("dashboard/agent.py", "agent"),
    ("DashboardAgent", "agent"),
    ("dashboard/dashboard.py", "dashboard"),
    ("Dashboard", "dashboard"),
    ("monitor.py", "autoscaler"),
    ("ray.util.client.server", "client server"),
    ("HAProxy", "Serve's proxy"),
    ("haproxy", "Serve's proxy"),
    ("ProxyActor", "Serve's proxy"),
    ("ServeReplica", "Serve's replica"),
    ("ray::", "worker"),
    ("/ray/", "worker"),
)
"""What stands in the command line of a process of Ray's -> what it is; the first that fits."""
CORE = ("control store", "raylet")
"""Parts by which whoever reaches them can run code, unless they ask for the token."""


@dataclass(frozen=True, order=True)
class Port:
    """A port that other machines reach.

    Attributes:
        number: The port.
        part: What of Ray listens there.
        guarded: Whether its process was started to ask for the token.
    """

    number: int
    part: str
    guarded: bool

    def __str__(self) -> str:
        return f"{self.number} ({self.part})"


def beyond_loopback(processes: Iterable[psutil.Process] | None = None) -> list[Port]:
    """Returns the ports at which processes of Ray listen beyond loopback; of all of this machine if none are given."""
    found = set()
    for process in psutil.process_iter() if processes is None else processes:
        try:
            if (part := _part(process)) is None:
                continue
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and not is_loopback(connection.laddr.ip):
                    found.add(Port(connection.laddr.port, part, _asks_for_token(process)))
        except psutil.Error:  # somebody else's, or gone
            continue
    return sorted(found)


def family() -> list[psutil.Process]:
    """Returns this process and those that descend from it."""
    this = psutil.Process()
    return [this, *this.children(recursive=True)]


def check_guarded(ports: Iterable[Port]) -> None:
    """Refuses ports at which whoever reaches them can run code.

    Raises:
        SensoriumError: Names them.
    """
    if bare := [port for port in ports if port.part in CORE and not port.guarded]:
        raise SensoriumError(
            f"Ray listens beyond this machine, at port {', '.join(map(str, bare))}, and asks for no token:"
            " whoever reaches it can run code here.",
            hint="Start it with RAY_AUTH_MODE=token, as `sensorium cluster up` does.",
        )


def told(ports: Iterable[Port]) -> str:
    """Returns where Ray listens, as the end of a sentence."""
    shown = ", ".join(map(str, ports))
    if not shown:
        return "on loopback alone"
    return f"beyond loopback at port {shown}: keep other machines out with a firewall, for metrics ask for no token"


def is_loopback(host: str) -> bool:
    """Says whether only this machine reaches an address."""
    try:
        address = ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return host == "localhost"
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _part(process: psutil.Process) -> str | None:
    """Returns what of Ray a process is, itself or by the process that started it (HAProxy); None if it is not Ray's."""
    name, line = process.name(), " ".join(process.cmdline())
    if name in ("gcs_server", "raylet"):
        return dict(PARTS)[name]
    if "ray::" not in line and "/ray/" not in line and "ray.util.client.server" not in line and "haproxy" not in line:
        return None
    return next((part for sign, part in PARTS[2:] if sign in line), None)


def _asks_for_token(process: psutil.Process) -> bool:
    return bool(process.environ().get("RAY_AUTH_MODE", "").lower() == "token")
