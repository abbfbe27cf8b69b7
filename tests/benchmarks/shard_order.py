"""The order in blocks at its full size: exact for thousands of workers, and resumed at once.

Run `python tests/benchmarks/shard_order.py`. First a simulated epoch of 4,096 workers over about 10^9 samples in
500,000 shards of unequal sizes: their number changes three times, and they are killed once and go back to a checkpoint.
In the windows of shards in which that happens, and in others that are drawn, every worker's part of every step is
computed: each sample of the window has to come exactly once. Then a worker resumes in the middle of an epoch of 10^8
samples in 10,000 tar files: the time from opening the split to the first indices, and what memory of its own it takes
beyond that of the libraries (`--rows` for another number).
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from timing import verdict

from sensorium.builtin.datasets.cache import Store, name_of
from sensorium.builtin.datasets.mapped import Writer, mapped
from sensorium.builtin.datasets.shards import Shard
from sensorium.builtin.datasets.webdataset import Members
from sensorium.engine import order as of_order
from sensorium.engine.blocks import Blocks
from sensorium.engine.order import Order, mix

SHARDS = 500_000
BATCH = 8192
WINDOW = 8
EPOCH = 3
FIELDS = {"image": "image"}
ENDINGS = {"jpg": "image"}


def simulate(windows: int) -> None:
    """Prints how many parts of how many windows were computed; fails where a sample comes twice or not at all."""
    random = np.random.default_rng(0)
    starts = np.concatenate(([0], np.cumsum(random.integers(1500, 2501, SHARDS))))
    order = Order(int(starts[-1]), BATCH, 11, starts, WINDOW)
    blocks = Blocks(starts, WINDOW, mix(order.seed, EPOCH))
    of_order.Blocks = lambda *_: blocks  # type: ignore[assignment, misc] # each worker would make the same
    quarter = order.steps // 5
    changes = [(0, 4096), (quarter, 3001), (2 * quarter, 4096), (3 * quarter, 1024)]
    back = 4 * quarter + 1  # the checkpoint; the kill came a step later
    begins, ends = blocks._windows[:-1], blocks._windows[1:]
    met = [step for step, _ in changes[1:]] + [back]
    chosen = {int(np.searchsorted(begins, step * BATCH, "right")) - 1 for step in met}
    chosen |= set(random.integers(0, len(begins), windows).tolist())
    began, parts, samples = time.perf_counter(), 0, 0
    for number in sorted(chosen):
        begin, end = int(begins[number]), int(ends[number])
        steps = range(begin // BATCH, min(-(-end // BATCH), order.steps))
        inside = set(blocks.at(np.arange(begin, min(end, order.steps * BATCH))).tolist())
        # What was done between checkpoint and kill is lost, and done again from the checkpoint on.
        begun = [step for step, _ in changes] + [back]
        edges = sorted({steps.start, *(step for step in begun if step in steps), steps.stop})
        seen: list[int] = []
        for first, last in pairwise(edges):
            workers = next(count for step, count in reversed(changes) if first >= step)
            for rank in range(workers):
                for part in islice(order.shares(EPOCH, first, rank, workers), last - first):
                    seen += [index for index in part if index in inside]
                    parts += 1
        if len(seen) != len(inside) or set(seen) != inside:
            raise SystemExit(f"window {number}: {len(seen)} samples came, {len(set(seen))} different, of {len(inside)}")
        samples += len(inside)
    print(
        f"{order.samples} samples, {order.steps} steps, {len(begins)} windows: in {len(chosen)} of them, at which 4,096"
        f" workers become 3,001, 4,096 and 1,024 and are killed once, {parts} parts hold each of {samples} samples once"
        f" ({time.perf_counter() - began:.0f} s)",
        flush=True,
    )


def split_of(rows: int, folder: Path, build: Any = None) -> Members:
    """Returns a split of so many samples, whose index is known."""
    files = [Shard(f"/nowhere/{number:05}.tar", "tar", 10**9, "") for number in range(10_000)]
    store = Store(str(folder), 10**12)
    made_from = [[file.uri, file.size, file.modified] for file in files]
    if build is not None:
        mapped(store, name_of("index", "tars", made_from, ENDINGS, list(FIELDS)), build)
    return Members(files, ENDINGS, FIELDS, store)


def index_of(rows: int) -> Writer:
    """Returns an index of so many samples."""
    writer, together = Writer(), 10**6
    for first in range(0, rows, together):
        places = np.arange(first, min(first + together, rows)) % (rows // 10_000) * 100_000
        writer.add("spans", np.stack([places, places + 90_000], 1)[:, None])
        writer.add("keys.bytes", np.full(8 * len(places), ord("0"), np.uint8), "uint8")
        writer.add("keys.ends", 8 * np.arange(first + 1, first + 1 + len(places)))
    writer.add("shards", np.arange(10_001) * (rows // 10_000))
    writer.about["dropped"] = {}
    return writer


def memory() -> np.ndarray:
    """Returns the megabytes that this process has of its own, and of files that it maps, which others share."""
    status = Path("/proc/self/status").read_text()
    return np.array([int(status.partition(f"{kind}:")[2].split()[0]) / 1024 for kind in ("RssAnon", "RssFile")])


def resume(rows: int, folder: Path, shuffle: str) -> None:
    """Prints the seconds and megabytes that a worker needs for the indices of its next 100 steps."""
    before, began = memory(), time.perf_counter()
    split = split_of(rows, folder)
    order = Order(len(split), BATCH, 11, split.shards if shuffle == "blocks" else None)
    parts = list(islice(order.shares(EPOCH, order.steps // 2, 5, 8), 1))
    took = time.perf_counter() - began
    parts += islice(order.shares(EPOCH, order.steps // 2, 5, 8), 100)
    [split.rows.text("keys", index) for part in parts for index in part]
    print(took, *(memory() - before), flush=True)


@cache
def _libraries() -> None:
    import torch  # noqa: F401 (its memory is that of every worker)

    import sensorium.engine.loop  # noqa: F401


def _measured(rows: int, folder: Path, shuffle: str) -> Iterator[float]:
    command = [sys.executable, __file__, "--rows", str(rows), "--resume", shuffle, str(folder)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True)
    return map(float, answer.stdout.split())


def main() -> None:
    """Simulates, then measures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--windows", type=int, default=4, help="windows that are drawn besides; 0 simulates nothing")
    parser.add_argument("--rows", type=int, default=10**8, help="samples of the epoch that is resumed")
    parser.add_argument("--resume", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.resume:
        _libraries()
        resume(options.rows, Path(options.resume[1]), options.resume[0])
        return
    if options.windows:
        simulate(options.windows)
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        split_of(options.rows, Path(folder), lambda: index_of(options.rows))
        print(f"an index of {options.rows} rows was written in {time.perf_counter() - began:.0f} s")
        for shuffle in ("full", "blocks"):
            seconds, own, shared = _measured(options.rows, Path(folder), shuffle)
            print(verdict(f"resuming in the middle, {shuffle}, seconds", seconds, most=2))
            print(verdict(f"resuming in the middle, {shuffle}, MB of its own", own, most=300))
            print(f"and {shared:.0f} MB of the index, which the workers share, after 100 steps")


if __name__ == "__main__":
    main()
