"""Shards that lie afar, fetched before the samples in them are read: as many as find room where they are kept."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from sensorium.contracts.dataset import Split, fetch, shards_of

FETCHES = 8
"""Shards that a worker fetches at a time."""
SAMPLES = 1 << 18
"""Samples that it looks ahead at most."""
TURN = 8
"""Batches that it looks further at a time, so that no step waits for many to be dealt."""

Batches = Iterable[tuple[int | None, Sequence[int]]]


class Ahead:
    """Looks so far ahead in a plan as shards find room, of those being read and of those to come.

    The workers of a machine share the room: each takes as much of it.

    Args:
        split: Where samples come from; one without `fetch` is not looked ahead in.
    """

    def __init__(self, split: Split) -> None:
        self.split, self.near = split, not hasattr(split, "fetch")
        self.room = 1 / int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # set by Ray Train and torchrun
        self._pool = ThreadPoolExecutor(FETCHES, thread_name_prefix="fetch")

    def close(self) -> None:
        """Fetches no more; what is under way is finished in the background."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def through(self, plan: Batches) -> Iterator[tuple[int | None, Sequence[int]]]:
        """Yields the entries of a plan, the epoch and the indices of each batch, and fetches for those that follow."""
        if self.near:
            yield from plan
            return
        starts, entries = np.asarray(shards_of(self.split)), iter(plan)
        waiting: deque[tuple[int | None, Sequence[int]]] = deque()
        held: dict[int, tuple[int, Future[float]]] = {}  # shard -> number of the last batch that needs it, its fetch
        read = seen = samples = 0
        while True:
            held = {shard: each for shard, each in held.items() if each[0] >= read - 1}  # one is being read
            for _ in range(TURN):
                if waiting and (samples >= SAMPLES or not self._further(held)):
                    break
                if (entry := next(entries, None)) is None:
                    break
                waiting.append(entry)
                samples += len(entry[1])
                for shard in np.unique(np.searchsorted(starts, entry[1], "right") - 1).tolist():
                    own = held[shard][1] if shard in held else self._pool.submit(fetch, self.split, shard)
                    held[shard] = (seen, own)
                seen += 1
            if not waiting:
                return
            samples -= len(waiting[0][1])
            yield waiting.popleft()
            read += 1

    def _further(self, held: dict[int, tuple[int, Future[float]]]) -> bool:
        """Returns whether there is room for more shards, one under way taking as much as the largest that has come."""
        done = [own.result() for _, own in held.values() if own.done() and not own.exception()]
        most = max(done, default=0.0)
        return most > 0 and sum(done) + most * (len(held) - len(done)) < self.room
