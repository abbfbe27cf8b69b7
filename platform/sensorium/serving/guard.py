"""Who may ask: requests bear a key, where one is set."""

from __future__ import annotations

import hmac

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import digest

OPEN = ("/healthz",)
"""Paths that answer anybody: load balancers have no key."""


class Guard:
    """Lets requests through that bear the key as `Authorization: Bearer KEY`.

    Args:
        app: What it guards.
        key: SHA-256 of the key in hexadecimal; empty lets everybody through.
    """

    def __init__(self, app: ASGIApp, key: str) -> None:
        self.app, self.key = app, key

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers 401, or passes on."""
        if self.key and scope["type"] == "http" and scope["path"] not in OPEN:
            scheme, _, given = Request(scope).headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(digest(given.strip()), self.key):
                refusal = Refusal(
                    401,
                    "The request bears no valid key.",
                    "Authorization: Bearer KEY was expected.",
                    "Ask whoever runs the server for the key.",
                    {"WWW-Authenticate": "Bearer"},
                )
                await refusal.response()(scope, receive, send)
                return
        await self.app(scope, receive, send)
