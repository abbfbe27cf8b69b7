"""From the name or address of a cluster to a connection: which address Ray takes, and with which token."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from sensorium.errors import UserError
from sensorium.paths import expanded
from sensorium.runtime import internals, laptop

PATIENCE = 5.0
"""Seconds that a cluster may take to answer."""


def join(address: str) -> str:
    """Returns the address that Ray takes, with the token of a cluster that was started here taken up.

    Args:
        address: HOST:PORT of the control store, a name, `auto`, or ray://HOST:PORT.

    Raises:
        UserError: Nothing answers there.
    """
    cluster = laptop.find(address)
    if cluster is not None:
        take_token(cluster.token)
        address = cluster.address
    if address not in ("auto", "local"):
        host, _, port = address.rpartition("://")[2].rpartition(":")
        if not host or not port.isdigit():
            names = ", ".join(cluster.name for cluster in laptop.clusters()) or "none"
            raise UserError(
                f"{address!r} is not an address of a Ray cluster.",
                "It is HOST:6379, ray://HOST:10001, auto, or the name of a cluster started here.",
                f"Clusters started here: {names}.",
            )
        host = host.strip("[]")
        _knock(address, host, int(port))
        if not address.startswith("ray://"):
            _show_token(address, lambda token: _is_admitted(host, int(port), token))
    return address


def jobs_address(address: str | None) -> str:
    """Returns where a cluster takes jobs, with the token that it asks for taken up.

    Args:
        address: http(s)://HOST:PORT of the dashboard, or the name of a cluster started here; None
            takes RAY_API_SERVER_ADDRESS, or the cluster that was started here.

    Raises:
        UserError: No cluster answers there, or it does not take the token.
    """
    address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or _only()
    cluster = laptop.find(address)
    if cluster is not None:
        take_token(cluster.token)
        address = cluster.jobs
    if urlsplit(address).scheme not in ("http", "https") or not urlsplit(address).hostname:
        names = ", ".join(cluster.name for cluster in laptop.clusters()) or "none"
        raise UserError(
            f"{address!r} is not an address that takes jobs.",
            "It is http://HOST:8265, or the name of a cluster started here.",
            f"Clusters started here: {names}.",
        )
    address = address.rstrip("/")
    _show_token(address, lambda token: status(address, token) == 200)
    return address


def take_token(path: Path) -> None:
    """Makes this process, and those that it starts, show the token in a file."""
    os.environ.pop("RAY_AUTH_TOKEN", None)  # it would go before the file
    os.environ["RAY_AUTH_TOKEN_PATH"] = str(path)
    _turn_tokens_on()


def is_here(address: str) -> bool:
    """Says whether the cluster at an address runs on this machine, and not behind a tunnel."""
    if laptop.find(address) is not None:
        return True
    if urlsplit(address).hostname not in ("127.0.0.1", "localhost", "::1"):
        return False
    return any(process.info["name"] == "raylet" for process in psutil.process_iter(["name"]))


def status(address: str, token: str = "") -> int:
    """Returns the status (HTTP) of a dashboard's answer to somebody with a token, or without.

    Raises:
        UserError: Nothing answers, or it is not a dashboard of Ray.
    """
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(f"{address}/api/version", headers=headers)
    try:
        with laptop.open_straight(request, PATIENCE) as answer:
            if b"ray_version" in answer.read(4096):
                return int(answer.status)
    except urllib.error.HTTPError as cause:
        if cause.code in (401, 403):
            return cause.code
        raise _silent(address, f"it answers {cause.code}") from cause
    except (OSError, ValueError) as cause:
        raise _silent(address, getattr(cause, "reason", cause)) from cause
    raise _silent(address, "what answers is not Ray")


def _show_token(address: str, is_admitted: Callable[[str], bool]) -> None:
    """Has Ray show the token that is found, if the cluster asks for one."""
    if is_admitted(""):
        return
    token = _token()
    if not is_admitted(token):
        fault = "does not take the token" if token else "asks for a token, and there is none"
        raise UserError(
            f"The cluster at {address} {fault}.",
            "It is read from RAY_AUTH_TOKEN, the file RAY_AUTH_TOKEN_PATH, or ~/.ray/auth_token.",
            "Ask for it who started the cluster.",
        )
    _turn_tokens_on()


def _turn_tokens_on() -> None:
    os.environ["RAY_AUTH_MODE"] = "token"
    internals.turn_tokens_on()


def _is_admitted(host: str, port: int, token: str) -> bool:
    """Asks a control store; Ray itself would ask for 20 s before it gives up."""
    import grpc  # type: ignore[import-untyped]

    shown = (("authorization", f"Bearer {token}"),) if token else ()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        try:
            channel.unary_unary("/ray.rpc.NodeInfoGcsService/GetClusterId")(b"", PATIENCE, shown)
        except grpc.RpcError as cause:
            return bool(cause.code() != grpc.StatusCode.UNAUTHENTICATED)
    return True


def _knock(address: str, host: str, port: int) -> None:
    try:
        socket.create_connection((host, port), PATIENCE).close()
    except OSError as cause:
        raise _silent(address, cause) from cause


def _silent(address: str, cause: object) -> UserError:
    return UserError(
        f"There is no Ray cluster at {address}: {str(cause).rstrip('.')}.",
        "Nothing was started.",
        "`sensorium cluster status` lists the clusters started here.",
    )


def _only() -> str:
    running = [cluster for cluster in laptop.clusters() if cluster.processes()]
    if len(running) == 1:
        return running[0].name
    raise UserError(
        "Several clusters run here." if running else "No cluster is named, and none was started here.",
        f"Known: {', '.join(cluster.name for cluster in running)}." if running else "",
        "Name one with --address, or start one with `sensorium cluster up FILE`.",
    )


def _token() -> str:
    if token := os.environ.get("RAY_AUTH_TOKEN"):
        return token
    path = Path(expanded(os.environ.get("RAY_AUTH_TOKEN_PATH", "")) or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text().strip()
    except OSError:
        return ""
