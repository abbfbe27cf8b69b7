"""Which samples a step sees: a function of the seed alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import lru_cache

import torch

from sensorium.errors import UserError


def mix(*numbers: int) -> int:
    """Returns a 63-bit seed that depends on all the numbers, and on each of their bits."""
    text = ",".join(str(number) for number in numbers)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") >> 1


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

    Raises:
        UserError: The split holds less than one global batch.
    """

    samples: int
    global_batch: int
    seed: int

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
        start = step * self.global_batch
        return _permutation(self.samples, mix(self.seed, epoch))[start : start + self.global_batch]

    def share(self, epoch: int, step: int, rank: int, workers: int) -> list[int]:
        """Returns a worker's part of the global batch; the parts in order of rank make it up."""
        return share(self.batch(epoch, step), rank, workers)


def share(items: list[int], rank: int, workers: int) -> list[int]:
    """Returns the rank-th of `workers` nearly equal slices of a list."""
    size, more = divmod(len(items), workers)
    start = rank * size + min(rank, more)
    return items[start : start + size + (rank < more)]


@lru_cache(maxsize=2)
def _permutation(samples: int, seed: int) -> list[int]:
    order: list[int] = torch.randperm(samples, generator=torch.Generator().manual_seed(seed)).tolist()
    return order
