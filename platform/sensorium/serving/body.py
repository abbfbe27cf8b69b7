"""The bodies of requests, read within their limits: of bytes, of time, and of memory for all of them together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn

from starlette.requests import ClientDisconnect, Request

from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits

GRACE = 2.0
"""Seconds after which a body must have kept to the least rate."""

DIGITS = 18
"""Digits of a length in bytes at most; more are a body that nobody can send."""


class Bodies:
    """Reads bodies, and knows how many bytes of them are in memory.

    Args:
        limits: What a body may cost, and all of them.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.held = 0

    @asynccontextmanager
    async def read(self, request: Request) -> AsyncIterator[bytes]:
        """Yields the body of a request, whose bytes count until the block ends; stops reading at the limits.

        Raises:
            Refusal: It is too large, came too slowly, or there is no memory for it.
        """
        said = request.headers.get("content-length", "0")
        if not said.isdecimal() or len(said) > DIGITS or int(said) > self.limits.body:
            self._too_large()
        body = bytearray()
        try:
            await self._fill(body, request)
            yield bytes(body)
        finally:
            self.held -= len(body)

    async def _fill(self, body: bytearray, request: Request) -> None:
        limits, loop = self.limits, asyncio.get_running_loop()
        begin = loop.time()
        try:
            async with asyncio.timeout(min(limits.arrival, GRACE)) as timer:
                async for chunk in request.stream():
                    body += chunk
                    self.held += len(chunk)
                    if len(body) > limits.body:
                        self._too_large()
                    if self.held > limits.bodies:
                        self._no_memory()
                    timer.reschedule(begin + min(limits.arrival, GRACE + len(body) / limits.rate))
        except TimeoutError as cause:
            raise Refusal(
                408,
                f"The body came too slowly: {len(body)} bytes in {loop.time() - begin:.1f} s.",
                f"{limits.rate} bytes a second, and all of it within {limits.arrival:g} s, were expected.",
                "Send it again.",
                {"Connection": "close"},
            ) from cause
        except ClientDisconnect as cause:
            raise Refusal(400, "The connection was closed before the body was whole.") from cause

    def _too_large(self) -> NoReturn:
        raise Refusal(
            413,
            "The body is too large.",
            f"At most {self.limits.body} bytes were expected.",
            "Send smaller media.",
            {"Connection": "close"},
        )

    def _no_memory(self) -> NoReturn:
        raise Refusal(
            503,
            "The bodies of all requests under way fill the memory that they may.",
            f"At most {self.limits.bodies} bytes are held.",
            "Try again after a second.",
            {"Retry-After": "1", "Connection": "close"},
        )
