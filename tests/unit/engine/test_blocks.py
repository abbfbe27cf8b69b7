"""Orders that read shards in sequence: exact, the same for any number of workers, mixed well within a window."""

import tracemalloc
from itertools import islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensorium.contracts.dataset import Source
from sensorium.engine.blocks import Blocks
from sensorium.engine.order import Order, Sources

LIMIT = 4.5
"""Standard deviations of chi square from its mean; keys are fixed, so that a test holds always or never."""


def starts(sizes):
    return np.concatenate(([0], np.cumsum(sizes))).astype(np.int64)


def order(shards, batch=4, seed=0, window=3):
    return Order(int(shards[-1]), batch, seed, shards, window)


def of_chance(counts):
    """Returns by how many standard deviations chi square lies above its mean, all cells being equally likely."""
    expected = counts.sum() / counts.size
    freedom = counts.size - 1
    return (np.square(counts - expected).sum() / expected - freedom) / np.sqrt(2 * freedom)


SHARDS = st.lists(st.integers(0, 9), min_size=1, max_size=20).filter(lambda sizes: sum(sizes) > 8).map(starts)


@settings(deadline=None, max_examples=50)
@given(SHARDS, st.integers(1, 8), st.integers(1, 25), st.integers(0, 3), st.integers(1, 9))
def test_each_sample_comes_once_whatever_the_workers(shards, batch, window, epoch, workers):
    own = order(shards, batch, window=window)
    whole = [own.batch(epoch, step) for step in range(own.steps)]
    seen = [index for each in whole for index in each]
    assert len(seen) == len(set(seen)) == own.steps * batch
    assert set(seen) <= set(range(own.samples))
    parts = zip(*(own.shares(epoch, 0, rank, workers) for rank in range(workers)), strict=True)
    assert [[index for part in step for index in part] for step in parts] == whole
    for first in range(0, own.steps, 5):
        assert list(islice(own.shares(epoch, first, 0, 1), 2)) == whole[first : first + 2]


def simulated(own, changes, killed):
    """Returns the samples of an epoch whose workers change at some steps, and that is killed and goes back a bit."""
    seen, step = [], 0
    while step < own.steps:
        workers = next(count for begin, count in reversed(changes) if step >= begin)
        until = min([begin for begin, _ in changes if begin > step] + [own.steps])
        if killed and step < killed[0] <= until:
            until, back = killed
            killed = None
        else:
            back = until
        streams = [islice(own.shares(1, step, rank, workers), until - step) for rank in range(workers)]
        done = list(zip(*streams, strict=True))[: back - step]  # what comes after the checkpoint is done again
        seen += [index for parts in done for part in parts for index in part]
        step = back
    return seen


def test_an_epoch_of_changing_workers_that_is_killed_sees_each_sample_once():
    sizes = np.random.default_rng(0).integers(50, 150, 60)
    own = order(starts(sizes), batch=64, seed=5, window=7)
    seen = simulated(own, [(0, 24), (20, 13), (45, 64), (70, 5)], killed=(61, 55))
    assert len(seen) == len(set(seen)) == own.steps * 64
    assert seen == [index for step in range(own.steps) for index in own.batch(1, step)]


def test_a_window_of_shards_is_read_before_the_next_one():
    shards = starts([10] * 24)
    own = order(shards, batch=5, window=4)
    for epoch in range(3):
        read = [
            {index // 10 for step in range(first, first + 8) for index in own.batch(epoch, step)} for first in (0, 8)
        ]
        assert [len(some) for some in read] == [4, 4]
        assert read[0].isdisjoint(read[1])


def test_windows_differ_from_epoch_to_epoch_and_seed_to_seed():
    shards = starts([10] * 24)
    firsts = [frozenset(i // 10 for step in range(8) for i in order(shards, 5, seed, 4).batch(epoch, step))
              for seed in range(3) for epoch in range(3)]  # fmt: skip
    assert len(set(firsts)) == 9


def test_a_workers_part_of_a_batch_lies_in_few_shards():
    own = order(starts([1000] * 64), batch=512, window=16)
    read = [{index // 1000 for part in islice(own.shares(0, 0, rank, 8), 31) for index in part} for rank in range(8)]
    assert max(len(shards) for shards in read) <= 4  # two, and what chance brings of their neighbours


@pytest.mark.parametrize("sizes", [[6] * 6, [1, 2, 3, 5, 7, 11, 4, 3]])
def test_each_sample_of_a_window_is_equally_likely_in_each_batch(sizes):
    shards, batch = starts(sizes), 6
    window = len(sizes)
    counts = np.zeros((int(shards[-1]), int(shards[-1]) // batch))
    own = order(shards, batch, 3, window)
    for epoch in range(1500):
        for step, indices in enumerate(own.shares(epoch, 0, 0, 1)):
            counts[indices, step] += 1
    assert of_chance(counts) < LIMIT


def test_samples_of_a_window_meet_each_other_equally_often():
    shards, meetings = starts([6] * 4), np.zeros((24, 24))
    own = order(shards, 6, 7, 4)
    for epoch in range(1500):
        for batch in own.shares(epoch, 0, 0, 1):
            meetings[np.ix_(batch, batch)] += 1
    pairs = meetings[np.triu_indices(24, 1)]
    assert of_chance(pairs) < LIMIT


def test_each_shard_is_equally_likely_in_each_window():
    counts = np.zeros((12, 4))
    for key in range(1500):
        blocks = Blocks(starts([1] * 12), 3, key)
        counts[blocks.at(np.arange(12)), np.arange(12) // 3] += 1
    assert of_chance(counts) < LIMIT


def test_a_thousand_million_samples_take_only_what_their_shards_take():
    shards = np.arange(0, 10**9 + 1, 10**4)
    own = Order(10**9, 8192, 1, shards, 32)
    tracemalloc.start()
    (part,) = islice(own.shares(3, 10**5, 4095, 4096), 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert part == own.batch(3, 10**5)[-2:]
    assert most < 16 * 10**6


def test_the_order_stays_the_same_over_versions():
    # A run that was begun with an earlier version goes on with the same samples.
    own = order(starts([3, 2, 4, 3, 5, 1]), batch=6, seed=7, window=2)
    assert [own.batch(1, step) for step in range(own.steps)] == [
        [12, 14, 15, 16, 3, 4],
        [13, 10, 11, 6, 7, 8],
        [9, 5, 0, 1, 2, 17],
    ]


def test_sources_read_their_own_shards_in_sequence():
    shards = starts([10] * 12)  # of the first source four and a half, as a limit left it
    sources = [Source("a", range(45)), Source("b", range(45, 120))]
    both = Sources(sources, 5, 3, None, shards, 2)
    batches = list(both.shares(0, 0, 0, 1))
    assert sorted(index for batch in batches for index in batch) == list(range(120))
    of_b = [batch for batch in batches if batch[0] >= 45]
    assert len({index // 10 for batch in of_b[:3] for index in batch}) <= 2
    halves = zip(both.shares(0, 0, 0, 2), both.shares(0, 0, 1, 2), strict=True)
    assert [[*one, *other] for one, other in halves] == batches


def test_one_shard_is_mixed_as_a_whole():
    own = order(np.array([0, 40]), batch=40)
    assert own.batch(0, 0) == list(range(40))  # sorted, as they lie
    halves = order(np.array([0, 40]), batch=20)
    assert halves.batch(0, 0) != halves.batch(1, 0)
