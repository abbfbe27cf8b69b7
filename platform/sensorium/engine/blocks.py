"""An order that reads shards mostly in sequence: the shards are permuted, and the samples in a window of several.

The shards of an epoch follow one another in an order of their own; each window of so many neighbours is read together,
its samples permuted by a key of its own. So a sample meets those of a window, and the windows differ from epoch to
epoch, while few shards are open at a time. It takes 16 bytes for each shard, and nothing for a sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from sensorium.contracts.data import stable_hash
from sensorium.engine.permutation import Permutation


class Blocks:
    """The samples of one epoch, shard after shard, and the order in which a window of shards deals them.

    Args:
        shards: Where each of S shards begins, and the last one ends, ascending, (S + 1,); some may be empty.
        window: Shards that are read together.
        key: Each key gives another order.
    """

    def __init__(self, shards: NDArray[np.int64], window: int, key: int) -> None:
        starts = np.unique(shards)
        order = Permutation(len(starts) - 1, key).at(range(len(starts) - 1))
        self._key = key
        self._first = starts[order]
        self._begins = np.concatenate(([0], np.cumsum(np.diff(starts)[order])))
        self._windows = np.append(self._begins[:-1:window], self._begins[-1])

    def dealt(self, places: range) -> NDArray[np.int64]:
        """Returns where the samples at neighbouring places of the epoch stand in the sequence of shards."""
        parts, at = [], places.start
        while at < places.stop:
            window = int(np.searchsorted(self._windows, at, "right")) - 1
            begin, end = (int(edge) for edge in self._windows[window : window + 2])
            inside = Permutation(end - begin, stable_hash(f"{self._key},{window}"))
            stop = min(end, places.stop)
            parts.append(begin + inside.at(range(at - begin, stop - begin)))
            at = stop
        return np.concatenate(parts)

    def at(self, positions: NDArray[Any]) -> NDArray[np.int64]:
        """Returns the indices, in the split, of samples that stand somewhere in the sequence of shards."""
        shard = np.searchsorted(self._begins, positions, "right") - 1
        found: NDArray[np.int64] = self._first[shard] + positions - self._begins[shard]
        return found
