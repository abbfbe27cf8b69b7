"""What a Ray cluster offers, and whom it lets in."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

import psutil

from sensorium.errors import SensoriumError, UserError
from sensorium.runtime import internals, laptop
from sensorium.runtime.address import jobs_address, join, status


def describe(address: str | None) -> str:
    """Returns Ray's version and, of the cluster at an address, how much it has; raises what Ray raises."""
    import ray

    if address is None:
        return f"ray {ray.__version__}; no cluster asked (--address)"
    if address.startswith("http"):
        return f"ray {ray.__version__}; the cluster at {jobs_address(address)} takes jobs"
    internals.listen()
    ray.init(address=join(address), logging_level="ERROR")
    resources = ray.cluster_resources()
    ray.shutdown()
    shown = ", ".join(f"{name} {resources[name]:g}" for name in ("CPU", "GPU") if name in resources)
    return f"ray {ray.__version__}; the cluster at {address} has {shown}"


def access(address: str | None) -> str:
    """Returns who may use the cluster at an address, and the Ray processes of this machine.

    Raises:
        SensoriumError: Somebody on the network may, without a token.
    """
    ports = open_ports()
    if ports:
        raise SensoriumError(
            f"Ray listens beyond this machine, at port {', '.join(map(str, ports))}, and asks for no token:"
            " whoever reaches it can run code here.",
            hint="Start it with RAY_AUTH_MODE=token, as `sensorium cluster up` does.",
        )
    if address is None:
        beyond = open_ports(without_token=False)
        told = f"; with one, at port {', '.join(map(str, beyond))}" if beyond else ""
        return f"no Ray of this machine is open to the network without a token{told}"
    dashboard = _dashboard(address)
    try:
        answer = status(dashboard)
    except UserError:
        return f"{dashboard} does not answer, so nobody can say whether it asks for a token"
    if answer == 401:
        return f"{dashboard} asks for a token"
    if not _is_loopback(str(urlsplit(dashboard).hostname)):
        raise SensoriumError(
            f"{dashboard} takes jobs from anybody, without a token: whoever reaches it can run code there.",
            hint="Start the cluster with RAY_AUTH_MODE=token.",
        )
    return f"{dashboard} asks for no token, and is open to this machine alone"


def open_ports(without_token: bool = True) -> list[int]:
    """Returns where Ray's control store and raylets of this machine listen beyond loopback.

    Args:
        without_token: Whether only those count that ask for no token.
    """
    found = set()
    for process in psutil.process_iter(["name"]):
        if process.info["name"] not in ("gcs_server", "raylet"):
            continue
        try:
            if without_token and process.environ().get("RAY_AUTH_MODE", "").lower() == "token":
                continue
            for connection in process.net_connections("tcp"):
                if connection.status == psutil.CONN_LISTEN and not _is_loopback(connection.laddr.ip):
                    found.add(connection.laddr.port)
        except psutil.Error:  # somebody else's, or gone
            continue
    return sorted(found)


def _dashboard(address: str) -> str:
    cluster = laptop.find(address)
    if cluster is not None:
        return cluster.jobs
    if address.startswith("http"):
        return address.rstrip("/")
    host = urlsplit(address if "://" in address else f"ray://{address}").hostname
    return f"http://{'127.0.0.1' if host in (None, 'auto', 'local') else host}:8265"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host.split("%")[0]).is_loopback
    except ValueError:
        return host == "localhost"
