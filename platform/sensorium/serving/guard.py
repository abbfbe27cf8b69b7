"""Who may ask: requests name this server, come from no other's page, and carry a key where one is set.

A browser asks a person for the key, as a password.
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Collection

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import digest

OPEN = ("/healthz",)
"""Paths that answer anybody: load balancers have no key."""


LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Names of this machine for itself."""


class Guard:
    """Lets requests through that are meant for this server, come from no other's page, and carry the key.

    A page of somebody else's may have a browser send requests here, with a name that points to this machine
    for a moment: the Host of such a request is not ours, or its Origin is not its Host.

    Args:
        app: What it guards.
        key: SHA-256 of the key in hexadecimal, borne as `Authorization: Bearer KEY` or as the password of `Basic`;
            empty lets everybody through.
        hosts: Names by which the server may be asked; none lets any.
    """

    def __init__(self, app: ASGIApp, key: str, hosts: Collection[str] = ()) -> None:
        self.app, self.key, self.hosts = app, key, frozenset(map(_name, hosts))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401, 403 or 421, or passes on."""
        refusal = None
        if scope["type"] == "http" and scope["path"] not in OPEN:
            headers = Request(scope).headers
            refusal = self._misdirected(headers) or self._foreign(headers) or self._keyless(headers)
        await (self.app if refusal is None else refusal.response())(scope, receive, send)

    def _misdirected(self, headers: Headers) -> Refusal | None:
        host = headers.get("host", "")
        if not self.hosts or _name(host) in self.hosts:
            return None
        return Refusal(
            421,
            f"The server is not called {host[:100]!r}.",
            f"Host was expected to be {', '.join(sorted(self.hosts))}.",
            "`sensorium serve --allow-host NAME` lets another.",
        )

    def _foreign(self, headers: Headers) -> Refusal | None:
        origin = headers.get("origin")
        if origin is None or origin.partition("://")[2].lower() == headers.get("host", "").lower():
            return None
        return Refusal(
            403,
            f"The request comes from a page of {origin[:100]!r}.",
            "Pages of this server alone may ask it.",
            "Ask from a program, or from the page at `/`.",
        )

    def _keyless(self, headers: Headers) -> Refusal | None:
        given = _key(headers.get("authorization", ""))
        if not self.key or hmac.compare_digest(digest(given), self.key):
            return None
        return Refusal(
            401,
            "The request carries no valid key.",
            "Authorization: Bearer KEY was expected.",
            "Ask whoever runs the server for the key.",
            {"WWW-Authenticate": 'Basic realm="Sensorium"'},
        )


def _name(host: str) -> str:
    """Returns the name in a Host header, without its port; an empty string where it is malformed."""
    host = host.strip().lower()
    if host.count(":") > 1 and "[" not in host:  # an address of IPv6 as people write it
        return host
    found = re.fullmatch(r"(?:\[([0-9a-f:.]+)\]|([^:\[\]@/]+?)\.?)(?::\d*)?", host)
    return (found[1] or found[2]) if found else ""


def _key(header: str) -> str:
    """Returns the key that an Authorization header carries, or an empty string."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given.strip(), validate=True).decode("utf-8").partition(":")[2]
    except ValueError:  # neither base64, nor UTF-8, nor ASCII
        return ""
