"""Requests that wait for one another: those of one shape are computed together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from sensorium.contracts.data import map_tensors
from sensorium.errors import UserError
from sensorium.inference.exact import Answered, Exact, shape
from sensorium.inference.predictor import Prepared
from sensorium.serving.memory import HEAVY, Memory, Share
from sensorium.serving.settings import Limits


def weight(prepared: Prepared) -> int:
    """Returns the bytes of an example's tensors."""
    total = 0

    def add(tensor: Tensor) -> Tensor:
        nonlocal total
        total += tensor.nbytes
        return tensor

    map_tensors(prepared.values, add)
    return total


def _light(exact: Exact, example: dict[str, Any]) -> Prepared | int:
    """Returns an example decoded, or what decoding it would cost if that is heavy."""
    cost = exact.predictor.cost(example)
    return cost if cost >= HEAVY else exact.predictor.prepare(example)


@dataclass
class _Waiting:
    prepared: Prepared
    exact: Exact
    key: Hashable
    future: asyncio.Future[tuple[dict[str, Any], int]]


class Batcher:
    """Collects the requests that arrive while others are computed, and answers those of one shape together.

    A lone request never waits. Where others are being decoded, the next batch waits for them, at most
    `wait` seconds. What is heavy to decode has threads of its own, so that nobody else waits for it, and decoded
    values are kept within a budget.

    Args:
        exact: What answers.
        size: Largest batch.
        wait: Seconds.
        lanes: Batches that are computed side by side.
        memory: Bytes that decoded values may hold, those that are being decoded included.
    """

    def __init__(self, exact: Exact, size: int, wait: float, lanes: int = 1, memory: int = Limits().memory) -> None:
        self.exact, self.size, self.wait = exact, size, wait
        self.memory = Memory(memory)
        self._decoders = ThreadPoolExecutor(2, "decode")
        self._heavy = ThreadPoolExecutor(2, "decode-heavy")
        # Each lane is a thread. The one used last is taken first, as what it needs lies in the processor's caches.
        self._free = [ThreadPoolExecutor(1, "compute") for _ in range(lanes)]
        self._queue: deque[_Waiting] = deque()
        self._decoding = 0
        self._more = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    async def ask(self, example: dict[str, Any]) -> tuple[dict[str, Any], int]:
        """Returns the answer, and how many requests were computed together.

        Raises:
            UserError: The example cannot be read, or makes no sense.
            Refusal: There was no memory for it in time.
        """
        exact, needed = self.exact, 0
        with self.memory.share() as share:
            if self._free and not self._queue and not self._decoding:
                answered = await self._at_once(exact, example)
                if not isinstance(answered, int):
                    return answered
                needed = answered
            prepared = await self._decode(exact, example, share, needed)
            waiting = _Waiting(
                prepared, exact, (id(exact), shape(prepared)), asyncio.get_running_loop().create_future()
            )
            self._queue.append(waiting)
            self._begin()
            return await waiting.future

    async def _decode(self, exact: Exact, example: dict[str, Any], share: Share, needed: int) -> Prepared:
        """Returns a decoded example, which its share holds; `needed` bytes are known for a heavy one, or 0."""
        run = asyncio.get_running_loop().run_in_executor
        if not needed:
            await share.take(0)
            self._decoding += 1
            try:
                found = await run(self._decoders, _light, exact, example)
            finally:
                self._decoding -= 1
                self._more.set()
            if isinstance(found, Prepared):
                share.hold(weight(found))
                return found
            needed = found
        await share.take(needed)
        prepared = await run(self._heavy, exact.predictor.prepare, example)
        share.hold(weight(prepared))
        return prepared

    def use(self, exact: Exact, size: int, wait: float) -> None:
        """Answers with another model from the next batch on."""
        self.exact, self.size, self.wait = exact, size, wait

    async def _at_once(self, exact: Exact, example: dict[str, Any]) -> tuple[dict[str, Any], int] | int:
        """Decodes and computes in one go, as there is nobody to do it with; returns the cost of what is too heavy."""

        def both() -> tuple[list[Answered], list[int]] | int:
            found = _light(exact, example)
            return found if isinstance(found, int) else exact([found], 1)

        lane = self._free.pop()
        try:
            done = await asyncio.get_running_loop().run_in_executor(lane, both)
        finally:
            self._free.append(lane)
            self._begin()
        if isinstance(done, int):
            return done
        (answer,), (size,) = done
        if isinstance(answer, UserError):
            raise answer
        return answer, size

    def _begin(self) -> None:
        """Has a free lane look after those that wait."""
        if self._queue and self._free:
            task = asyncio.get_running_loop().create_task(self._work(self._free.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _work(self, lane: ThreadPoolExecutor) -> None:
        try:
            while self._queue:
                await self._gather()
                if batch := self._take():
                    await self._compute(lane, batch)
        finally:
            self._free.append(lane)  # at once: a request that comes after the last look at the queue needs one

    async def _compute(self, lane: ThreadPoolExecutor, batch: list[_Waiting]) -> None:
        exact, prepared = batch[0].exact, [each.prepared for each in batch]
        try:
            said, sizes = await asyncio.get_running_loop().run_in_executor(lane, exact, prepared, self.size)
        except Exception as error:  # noqa: BLE001 (handed to those who asked)
            for each in batch:
                if not each.future.done():
                    each.future.set_exception(error)
            return
        for each, answer, size in zip(batch, said, sizes, strict=True):
            if each.future.done():
                continue
            if isinstance(answer, UserError):
                each.future.set_exception(answer)
            else:
                each.future.set_result((answer, size))

    async def _gather(self) -> None:
        deadline = asyncio.get_running_loop().time() + self.wait
        while self._decoding and len(self._queue) < self.size:
            self._more.clear()
            try:
                async with asyncio.timeout_at(deadline):
                    await self._more.wait()
                await asyncio.sleep(0)  # lets the one that was decoded join the queue
            except TimeoutError:
                return

    def _take(self) -> list[_Waiting]:
        """Returns the oldest and others of its shape; who has gone away is left out."""
        while self._queue and self._queue[0].future.done():
            self._queue.popleft()
        if not self._queue:
            return []
        key, rest = self._queue[0].key, deque[_Waiting]()
        batch: list[_Waiting] = []
        for each in self._queue:
            if each.future.done():
                continue
            if each.key == key and len(batch) < self.size:
                batch.append(each)
            else:
                rest.append(each)
        self._queue = rest
        return batch
