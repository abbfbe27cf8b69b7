"""Memory that decoded values hold, for all requests of a replica together."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from sensorium.serving.refusal import Refusal

HEAVY = 32 << 20
"""Bytes from which decoding a request counts as heavy: it takes over a tenth of a second or so."""

PATIENCE = 5.0
"""Seconds after which a request that finds no memory is sent away."""


class Share:
    """What one request holds of the memory.

    Args:
        memory: Where it is counted.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory, self.held = memory, 0

    async def take(self, needed: int) -> None:
        """Waits until there is room for so many bytes, and holds them. A request alone always has room.

        Raises:
            Refusal: It took too long.
        """
        memory = self.memory
        needed = min(needed, memory.limit)
        try:
            async with asyncio.timeout(PATIENCE):
                while memory.held + needed > memory.limit:
                    await memory.freed.wait()
        except TimeoutError as cause:
            raise Refusal(
                503,
                "The media of other requests fill the memory that they may.",
                f"At most {memory.limit} bytes are held.",
                "Try again after a few seconds.",
                {"Retry-After": str(round(PATIENCE))},
            ) from cause
        self.hold(needed)

    def hold(self, held: int) -> None:
        """Holds so many bytes from now on."""
        self.memory.held += held - self.held
        freed, self.held = held < self.held, held
        if freed:
            self.memory.freed.set()  # wakes all who wait; the smaller may find room where the larger do not
            self.memory.freed.clear()


class Memory:
    """A budget in bytes.

    Args:
        limit: Bytes.
    """

    def __init__(self, limit: int) -> None:
        self.limit, self.held, self.freed = limit, 0, asyncio.Event()

    @contextmanager
    def share(self) -> Iterator[Share]:
        """Yields a share, which is given back when the block ends."""
        share = Share(self)
        try:
            yield share
        finally:
            share.hold(0)
