"""Which samples a step sees: a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from sensorium.contracts.data import stable_hash
from sensorium.contracts.dataset import Source
from sensorium.engine.blocks import Blocks
from sensorium.engine.permutation import Permutation
from sensorium.errors import UserError

WINDOW = 16
"""Shards whose samples are mixed with one another, where an order reads shards in sequence."""
AT_ONCE = 4096
"""Samples whose places are computed together, where a batch has fewer: for one it takes a third as long as for all."""


def mix(*numbers: int) -> int:
    """Returns a 63-bit seed that depends on all the numbers, and on each of their bits."""
    return stable_hash(",".join(str(number) for number in numbers))


@dataclass(frozen=True)
class Order:
    """The order of a split's samples over epochs.

    Global batch k of an epoch is the k-th slice of the epoch's permutation, whatever the number of
    workers; they only cut it among themselves. What is left below a whole batch waits for another
    epoch, which shuffles anew.

    Where shards are read in sequence, a batch holds its samples in the order of their shards: each worker's part, and
    each thread's, lies in few of them.

    Attributes:
        samples: Number of samples of the split.
        global_batch: Samples of a step, over all workers.
        seed: Seed of the run.
        shards: Where each shard begins, and the last one ends, to read them mostly in sequence; None mixes all samples.
        window: Shards whose samples are mixed with one another.

    Raises:
        UserError: The split holds less than one global batch.
    """

    samples: int
    global_batch: int
    seed: int
    shards: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    window: int = WINDOW

    def __post_init__(self) -> None:
        if self.samples < self.global_batch:
            raise UserError(
                f"The training split has {self.samples} samples, the global batch is {self.global_batch}.",
                "A step needs a whole global batch.",
                f"Set training.global_batch to {self.samples} at most.",
            )

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.samples // self.global_batch

    def batch(self, epoch: int, step: int) -> list[int]:
        """Returns the indices of the global batch of a step."""
        return next(self.shares(epoch, step, 0, 1))

    def shares(self, epoch: int, first: int, rank: int, workers: int) -> Iterator[list[int]]:
        """Yields a worker's part of each global batch of an epoch, from a step on.

        The parts of a step, in order of rank, make up its global batch.
        """
        key = mix(self.seed, epoch)
        blocks = None if self.shards is None else Blocks(self.shards, self.window, key)
        order = Permutation(self.samples, key) if blocks is None else blocks
        together = max(1, AT_ONCE // self.global_batch)
        for start in range(first, self.steps, together):
            stop = min(start + together, self.steps)
            places = range(start * self.global_batch, stop * self.global_batch)
            dealt = np.arange(places.start, places.stop) if blocks is None else blocks.dealt(places)
            positions = dealt.reshape(stop - start, self.global_batch)
            if blocks is not None:
                positions.sort(axis=1)
            mine = positions[:, cut(self.global_batch, rank, workers)]
            yield from cast(list[list[int]], order.at(mine.ravel()).reshape(mine.shape).tolist())


class Sources:
    """The order of a split of several sources: each step learns from one of them.

    An epoch holds as many steps as the sources have whole batches. Which source comes when is a permutation of the
    epoch's steps; the batches of a source are those of its own `Order`.

    Args:
        sources: One after another.
        global_batch: Samples of a step, for sources that name no number of their own.
        seed: Seed of the run.
        most: Most steps of an epoch; None for no limit.
        shards: Where each shard of the split begins, and the last one ends, to read them mostly in sequence; None mixes
            all samples of a source.
        window: Shards whose samples are mixed with one another.

    Raises:
        UserError: A source holds less than one of its batches; names it.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        global_batch: int,
        seed: int,
        most: int | None = None,
        shards: NDArray[np.int64] | None = None,
        window: int = WINDOW,
    ) -> None:
        self.sources, self.seed, self.most = sources, seed, most
        self.sizes = {source.name: source.batch or global_batch for source in sources}
        self.orders = []
        for source in sources:
            own = seed if len(sources) == 1 else mix(seed, stable_hash(source.name))
            start, stop = source.indices.start, source.indices.stop
            parts = None if shards is None else np.clip(shards, start, stop) - start
            try:
                self.orders.append(Order(len(source.indices), self.sizes[source.name], own, parts, window))
            except UserError as cause:
                if not source.name:
                    raise
                raise UserError(f"Source {source.name!r}: {cause.wrong}", cause.expected, cause.hint) from cause
        self._ends = np.cumsum([order.steps for order in self.orders])

    @property
    def steps(self) -> int:
        """Steps of an epoch, of all sources together."""
        whole = int(self._ends[-1])
        return whole if self.most is None else min(whole, self.most)

    def size(self, source: str) -> int:
        """Returns the samples of a step that learns from a source, over all workers."""
        return self.sizes[source]

    def shares(self, epoch: int, first: int, rank: int, workers: int) -> Iterator[Sequence[int]]:
        """Yields a worker's part of each global batch of an epoch, from a step on, as `Order.shares` does."""
        counts = np.bincount(self._turns(epoch, range(first)), minlength=len(self.sources))
        parts = [
            order.shares(epoch, int(count), rank, workers) for order, count in zip(self.orders, counts, strict=True)
        ]
        for start in range(first, self.steps, AT_ONCE):
            for turn in self._turns(epoch, range(start, min(start + AT_ONCE, self.steps))):
                begin = self.sources[turn].indices.start
                yield [begin + index for index in next(parts[turn])]

    def _turns(self, epoch: int, steps: range) -> NDArray[np.int64]:
        """Returns the number of the source that each step learns from."""
        if len(self.sources) == 1:
            return np.zeros(len(steps), np.int64)
        drawn = Permutation(int(self._ends[-1]), mix(self.seed, epoch, len(self.sources))).at(steps)
        return np.searchsorted(self._ends, drawn, side="right")


def share(items: Sequence[int], rank: int, workers: int) -> Sequence[int]:
    """Returns the rank-th of `workers` nearly equal slices."""
    return items[cut(len(items), rank, workers)]


def cut(count: int, rank: int, workers: int) -> slice:
    """Returns where the rank-th of `workers` nearly equal parts of so many things lies."""
    size, more = divmod(count, workers)
    start = rank * size + min(rank, more)
    return slice(start, start + size + (rank < more))
