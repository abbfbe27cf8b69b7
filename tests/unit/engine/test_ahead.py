"""Shards are fetched before they are read, in the order of the plan, and no more than find room."""

import threading
from concurrent.futures import wait

import pytest

from sensorium.assembly.splits import Subset
from sensorium.builtin.datasets.union import Joined
from sensorium.contracts.dataset import Source, fetch, shards_of
from sensorium.engine.ahead import FETCHES, SAMPLES, TURN, Ahead


class Afar:
    """Shards of ten samples, each of which takes a share of the room."""

    def __init__(self, shards=20, share=0.1, fails=()):
        self.shards, self.share, self.fails = [10 * number for number in range(shards + 1)], share, fails
        self.fetched = []
        self.lock = threading.Lock()

    def __len__(self):
        return self.shards[-1]

    def __getitem__(self, index):
        return {"id": str(index)}

    def fetch(self, shard):
        with self.lock:
            self.fetched.append(shard)
        if shard in self.fails:
            raise OSError("gone")
        return self.share


class AtOnce(Ahead):
    """Waits for what was asked for, so that a test knows what is there."""

    def _further(self, held):
        wait([own for _, own in held.values()])
        return super()._further(held)


def plan(shards, batch=5):
    return [
        (0, list(range(start, start + batch)))
        for shard in shards
        for start in range(10 * shard, 10 * shard + 10, batch)
    ]


def test_the_plan_comes_out_as_it_went_in_and_each_shard_is_fetched_before_it_is_read():
    split, order = Afar(), [3, 1, 4, 15, 9, 2, 6]
    seen = []
    for entry in AtOnce(split).through(iter(plan(order))):
        seen.append(entry)
        assert entry[1][0] // 10 in split.fetched
    assert seen == plan(order)
    assert sorted(split.fetched) == sorted(order)


def test_no_more_is_fetched_than_finds_room():
    split = Afar(share=0.26)  # room for three, and a fourth one that is asked for while there is room
    stream = AtOnce(split).through(iter(plan(range(20))))
    for number, _ in enumerate(stream):
        assert len(split.fetched) <= number // 2 + 4
    assert len(split.fetched) == 20


def test_the_workers_of_a_machine_share_the_room(monkeypatch):
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    split = Afar(share=0.26)
    for number, _ in enumerate(AtOnce(split).through(iter(plan(range(20))))):
        assert len(split.fetched) <= number // 2 + 2


def test_a_shard_that_takes_more_than_all_the_room_is_fetched_when_its_turn_comes():
    split = Afar(share=5.0)
    for number, _ in enumerate(AtOnce(split).through(iter(plan(range(20))))):
        assert len(split.fetched) == number // 2 + 1


def test_a_shard_that_is_needed_for_long_is_fetched_once():
    split = Afar()
    mixed = [(0, [start, 190]) for start in range(0, 150, 10)]
    list(AtOnce(split).through(iter(mixed)))
    assert sorted(split.fetched) == [*range(15), 19]


def test_where_nothing_is_fetched_nobody_looks_far():
    taken = []

    def watched():
        for entry in plan(range(20)):
            taken.append(entry)
            yield entry

    next(AtOnce(Afar(share=0.0)).through(watched()))
    assert len(taken) == 1
    del taken[:]
    next(AtOnce([{"id": "x"}] * 200).through(watched()))
    assert len(taken) == 1
    del taken[:]
    next(AtOnce(Afar(share=0.001)).through(watched()))
    assert len(taken) == TURN


def test_it_looks_ahead_so_many_samples_at_most(monkeypatch):
    monkeypatch.setattr("sensorium.engine.ahead.SAMPLES", 20)
    split = Afar(share=0.001)
    for number, _ in enumerate(AtOnce(split).through(iter(plan(range(20))))):
        assert len(split.fetched) <= number // 2 + 3
    assert SAMPLES > 1000 < FETCHES * 10**6


def test_what_cannot_be_fetched_is_left_to_reading():
    split = Afar(fails=(2, 3))
    assert list(AtOnce(split).through(iter(plan(range(6))))) == plan(range(6))


def test_an_end_in_the_midst_waits_for_nobody():
    going = threading.Event()

    class Slow(Afar):
        def fetch(self, shard):
            super().fetch(shard)
            going.wait(20)
            return 0.1

    split = Slow()
    ahead = Ahead(split)
    next(ahead.through(iter(plan(range(20)))))
    ahead.close()
    assert not going.is_set()
    going.set()
    assert len(split.fetched) <= FETCHES


@pytest.mark.parametrize("count", [200, 95])
def test_shards_of_a_part_and_of_a_union_are_those_of_the_whole(count):
    one, other = Afar(), Afar(shards=3)
    part = Subset(one, range(count))
    assert list(shards_of(part)) == [min(start, count) for start in one.shards]
    joined = Joined([(Source("a", range(count)), one), (Source("b", range(30)), other)])
    assert list(shards_of(joined)) == [
        *(min(start, count) for start in one.shards[:-1]),
        count,
        count + 10,
        count + 20,
        count + 30,
    ]
    for shard in (0, 19, 20, 22):
        assert fetch(joined, shard) == 0.1
    assert (one.fetched, other.fetched) == ([0, 19], [0, 2])
    assert fetch(part, 7) == 0.1
    assert one.fetched[-1] == 7
    assert (shards_of([1, 2, 3]), fetch([1], 0)) == ((0, 3), 0.0)
