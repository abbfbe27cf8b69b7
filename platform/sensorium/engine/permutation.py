"""A permutation that is computed where it is asked for, so that an order of any length takes no memory.

A Feistel network (Luby and Rackoff 1988, "How to construct pseudorandom permutations from pseudorandom
functions") permutes the numbers of so many bits; cycle walking (Black and Rogaway 2002, "Ciphers with arbitrary
finite domains", method 2) narrows it to the numbers below any size: what leads outside is permuted again until it
leads inside, about twice at worst. Each round's function is the finaliser of SplitMix64 (Steele, Lea and Flood
2014) with a key of its own, taken by blake2b from the permutation's key.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import NDArray

from sensorium.contracts.data import stable_hash

Numbers = NDArray[np.uint64]
ROUNDS = 8
"""Rounds of the network. Luby and Rackoff take 4, for halves that are wide; narrow ones mix more slowly."""
MOST = 1 << 62
"""Largest size."""


class Permutation:
    """The numbers below `size` in an order that follows from `key` alone.

    Args:
        size: How many numbers, from 1 to 2^62.
        key: Each key gives another order.

    Raises:
        ValueError: The size is outside.
    """

    def __init__(self, size: int, key: int) -> None:
        if not 0 < size <= MOST:
            raise ValueError(f"A permutation has 1 to {MOST} numbers, not {size}.")
        bits = max(2, (size - 1).bit_length())
        self.size = size
        self._low, self._high = bits // 2, bits - bits // 2
        self._keys = [np.uint64(stable_hash(f"{key},{turn}")) for turn in range(ROUNDS)]

    def at(self, places: Iterable[int]) -> NDArray[np.int64]:
        """Returns which numbers stand at some places."""
        return self._walk(places, self._forward)

    def places(self, numbers: Iterable[int]) -> NDArray[np.int64]:
        """Returns at which places some numbers stand: `places(at(x))` is x."""
        return self._walk(numbers, self._back)

    def _walk(self, start: Iterable[int], once: Callable[[Numbers], Numbers]) -> NDArray[np.int64]:
        found = once(_array(start))
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            found[outside] = once(found[outside])
            outside = outside[found[outside] >= self.size]
        return found.astype(np.int64)

    def _forward(self, numbers: Numbers) -> Numbers:
        return self._network(numbers, range(ROUNDS))

    def _back(self, numbers: Numbers) -> Numbers:
        return self._network(numbers, reversed(range(ROUNDS)))

    def _network(self, numbers: Numbers, turns: Iterable[int]) -> Numbers:
        """Returns each number with its halves changed in turn, each by the other: a round is its own inverse."""
        halves = [numbers & np.uint64((1 << self._low) - 1), numbers >> np.uint64(self._low)]
        for turn in turns:
            changed = turn % 2
            halves[changed] ^= _scrambled(halves[1 - changed], self._keys[turn], (self._low, self._high)[changed])
        return halves[1] << np.uint64(self._low) | halves[0]


def _array(numbers: Iterable[int]) -> Numbers:
    if isinstance(numbers, range):
        return np.arange(numbers.start, numbers.stop, numbers.step, dtype=np.int64).astype(np.uint64)
    return np.asarray(numbers, dtype=np.int64).astype(np.uint64)


def _scrambled(half: Numbers, key: np.uint64, bits: int) -> Numbers:
    """Returns so many bits that depend on each bit of the key and of each number."""
    mixed = half + key  # whole numbers of 64 bits: what overflows is cut off
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed >>= np.uint64(64 - bits)
    return mixed
