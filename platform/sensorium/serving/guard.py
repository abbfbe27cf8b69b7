"""Who may ask: requests bear a key, where one is set. A browser asks a person for it, as a password."""

from __future__ import annotations

import base64
import binascii
import hmac

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import digest

OPEN = ("/healthz",)
"""Paths that answer anybody: load balancers have no key."""


class Guard:
    """Lets requests through that bear the key: `Authorization: Bearer KEY`, or the password of `Basic`.

    Args:
        app: What it guards.
        key: SHA-256 of the key in hexadecimal; empty lets everybody through.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401, or passes on."""
        if self.key and scope["type"] == "http" and scope["path"] not in OPEN:
            given = _key(Request(scope).headers.get("authorization", ""))
            if not hmac.compare_digest(digest(given), self.key):
                refusal = Refusal(
                    401,
                    "The request bears no valid key.",
                    "Authorization: Bearer KEY was expected.",
                    "Ask whoever runs the server for the key.",
                    {"WWW-Authenticate": 'Basic realm="Sensorium"'},
                )
                await refusal.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)


def _key(header: str) -> str:
    """Returns the key that an Authorization header bears, or an empty string."""
    scheme, _, given = header.partition(" ")
    if scheme.lower() == "bearer":
        return given.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(given.strip(), validate=True).decode("utf-8").partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""
