"""What a Ray cluster offers, and whom it lets in."""

from __future__ import annotations

from urllib.parse import urlsplit

from sensorium.errors import SensoriumError, UserError
from sensorium.runtime import internals, laptop
from sensorium.runtime.address import jobs_address, join, status
from sensorium.runtime.listening import beyond_loopback, check_guarded, is_loopback, told


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
    ports = beyond_loopback()
    check_guarded(ports)
    return f"{_asks(address)}what runs here listens {told(ports)}"


def _asks(address: str | None) -> str:
    if address is None:
        return ""
    dashboard = _dashboard(address)
    try:
        answer = status(dashboard)
    except UserError:
        return f"{dashboard} does not answer, so nobody can say whether it asks for a token; "
    if answer == 401:
        return f"{dashboard} asks for a token; "
    if not is_loopback(str(urlsplit(dashboard).hostname)):
        raise SensoriumError(
            f"{dashboard} takes jobs from anybody, without a token: whoever reaches it can run code there.",
            hint="Start the cluster with RAY_AUTH_MODE=token.",
        )
    return f"{dashboard} asks for no token, and is open to this machine alone; "


def _dashboard(address: str) -> str:
    cluster = laptop.find(address)
    if cluster is not None:
        return cluster.jobs
    if address.startswith("http"):
        return address.rstrip("/")
    host = urlsplit(address if "://" in address else f"ray://{address}").hostname
    return f"http://{'127.0.0.1' if host in (None, 'auto', 'local') else host}:8265"
