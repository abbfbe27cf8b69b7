"""From samples to batches: threads decode and transform ahead of the training, or it reads itself."""

from __future__ import annotations

import ctypes
from collections import deque
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from functools import cache
from typing import Any

from sensorium.contracts.data import Batch, Sample
from sensorium.contracts.dataset import Source, Split, narrow, sources_of
from sensorium.contracts.modality import Modality
from sensorium.contracts.reading import collate, transform
from sensorium.engine.ahead import Ahead, Batches
from sensorium.engine.order import mix, share
from sensorium.engine.storage import awaited

AHEAD = 2
"""Batches that are prepared while one is used."""


class Loader:
    """Reads batches of a split. Threads suffice: decoding and resizing release Python's lock.

    Args:
        split: Where samples come from.
        modalities: Field -> modality, of the fields to read.
        threads: Number of threads; 0 reads each batch when it is asked for.
        seed: Seed of augmentation. Each sample's randomness follows from seed, epoch and index,
            so it does not depend on the worker or the thread that reads it.
        pinned: Whether batches come in memory that a GPU copies from by itself.
        ahead: Whether to fetch shards ahead that lie afar: for orders that read them mostly in sequence.
    """

    def __init__(
        self,
        split: Split,
        modalities: Mapping[str, Modality],
        threads: int,
        seed: int = 0,
        pinned: bool = False,
        ahead: bool = True,
    ) -> None:
        self.pinned = pinned
        self.split, self.modalities, self.seed = narrow(split, modalities), modalities, seed
        self.sources = [
            (source, {name: modality for name, modality in modalities.items() if source.reads(name)})
            for source in sources_of(split)
        ]
        self.threads = threads
        keep_memory()
        self._pool = ThreadPoolExecutor(threads or 1, thread_name_prefix="loader")
        self._collator = ThreadPoolExecutor(1, thread_name_prefix="collator")
        self._ahead = Ahead(self.split) if ahead else None
        self._closed = False

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True  # so that nobody waits for more than the samples that are being read
        if self._ahead is not None:
            self._ahead.close()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._collator.shutdown(wait=True, cancel_futures=True)

    def stream(self, plan: Batches) -> Generator[Batch, None, None]:
        """Yields the batch for each (epoch, indices) of a plan; epoch None asks for no augmentation."""
        plan = plan if self._ahead is None else self._ahead.through(plan)
        if not self.threads:
            yield from (self._collate(indices[0], self._read(epoch, indices)) for epoch, indices in plan)
            return
        waiting: deque[Future[Batch]] = deque()
        for epoch, indices in plan:
            parts = (share(indices, part, self.threads) for part in range(self.threads))
            read = [self._pool.submit(self._read, epoch, part) for part in parts if part]
            waiting.append(self._collator.submit(self._joined, indices[0], read))
            if len(waiting) > AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()

    def _read(self, epoch: int | None, indices: Sequence[int]) -> list[tuple[Sample, dict[str, Any]]]:
        return [self.read(index, epoch) for index in indices if not self._closed]

    def read(self, index: int, epoch: int | None) -> tuple[Sample, dict[str, Any]]:
        """Returns one sample, raw and transformed; waits for a server that is away.

        Raises:
            SensoriumError: It stays away, or the sample cannot be read.
        """
        return awaited(f"sample {index}", lambda: self._once(index, epoch))

    def _once(self, index: int, epoch: int | None) -> tuple[Sample, dict[str, Any]]:
        if self._closed:
            raise CancelledError
        sample = self.split[index]
        seed = None if epoch is None else mix(self.seed, epoch, index)
        return sample, transform(sample, self._at(index)[1], seed)

    def _at(self, index: int) -> tuple[Source, Mapping[str, Modality]]:
        """Returns the source of a sample, and what reads its fields."""
        return next(each for each in self.sources if index in each[0].indices)

    def _joined(self, first: int, parts: list[Future[list[tuple[Sample, dict[str, Any]]]]]) -> Batch:
        return self._collate(first, [pair for part in parts for pair in part.result()])

    def _collate(self, first: int, pairs: Sequence[tuple[Sample, dict[str, Any]]]) -> Batch:
        source, modalities = self._at(first)
        batch = collate(pairs, modalities, source.name)
        return batch.pinned() if self.pinned else batch


@cache
def keep_memory() -> None:
    """Has the C library keep what is freed for the next batch, where it is glibc.

    A block above 32 MiB, such as a batch of photographs, it gives back to the system at once; to get
    its pages anew takes about a fifth of the time of decoding them.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        for option in (-1, -3):  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of malloc.h
            mallopt(option, 1 << 30)
