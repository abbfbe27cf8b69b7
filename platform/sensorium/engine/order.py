"""Which samples a step sees: a function of the seed alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice

from sensorium.contracts.data import stable_hash
from sensorium.engine.permutation import Permutation
from sensorium.errors import UserError

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

    Attributes:
        samples: Number of samples of the split.
        global_batch: Samples of a step, over all workers.
        seed: Seed of the run.
        most: Most steps of an epoch; None for no limit.

    Raises:
        UserError: The split holds less than one global batch.
    """

    samples: int
    global_batch: int
    seed: int
    most: int | None = None

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
        whole = self.samples // self.global_batch
        return whole if self.most is None else min(whole, self.most)

    def batch(self, epoch: int, step: int) -> list[int]:
        """Returns the indices of the global batch of a step."""
        return next(self.shares(epoch, step, 0, 1))

    def shares(self, epoch: int, first: int, rank: int, workers: int) -> Iterator[list[int]]:
        """Yields a worker's part of each global batch of an epoch, from a step on.

        The parts of a step, in order of rank, make up its global batch.
        """
        permutation = Permutation(self.samples, mix(self.seed, epoch))
        together = max(1, AT_ONCE // self.global_batch)
        for start in range(first, self.steps, together):
            steps = range(start, min(start + together, self.steps))
            places = [share(self._places(step), rank, workers) for step in steps]
            indices = iter(permutation.at(list(chain.from_iterable(places))).tolist())
            for part in places:
                yield list(islice(indices, len(part)))

    def _places(self, step: int) -> range:
        return range(step * self.global_batch, (step + 1) * self.global_batch)


def share(items: Sequence[int], rank: int, workers: int) -> Sequence[int]:
    """Returns the rank-th of `workers` nearly equal slices."""
    size, more = divmod(len(items), workers)
    start = rank * size + min(rank, more)
    return items[start : start + size + (rank < more)]
