import tracemalloc
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium import UserError
from sensorium.contracts.dataset import Source
from sensorium.engine.order import AT_ONCE, Order, Sources, mix, share

ORDERS = st.builds(
    lambda batch, more, seed: Order(batch + more, batch, seed),
    st.integers(1, 20),
    st.integers(0, 60),
    st.integers(0, 2**40),
)


@given(ORDERS, st.integers(0, 5), st.integers(1, 9))
def test_workers_only_cut_the_global_batch(order, epoch, workers):
    steps = list(zip(*(order.shares(epoch, 0, rank, workers) for rank in range(workers)), strict=True))
    assert len(steps) == order.steps
    for step, shares in enumerate(steps):
        assert [index for part in shares for index in part] == order.batch(epoch, step)
        sizes = [len(part) for part in shares]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("batch", [1, 7, 64, AT_ONCE - 1, AT_ONCE, 3 * AT_ONCE + 5])
def test_an_epoch_goes_on_from_any_step_as_from_its_beginning(batch):
    order = Order(10 * max(batch, 1000), batch, 5)
    whole = list(islice(order.shares(2, 0, 1, 3), 200))
    for first in (1, 2, len(whole) - 1):
        assert list(islice(order.shares(2, first, 1, 3), len(whole) - first)) == whole[first:]


def test_an_order_of_ten_thousand_million_samples_takes_no_memory():
    order = Order(10**10, 8192, 5)
    tracemalloc.start()
    (share,) = islice(order.shares(3, 10**6, 1, 2), 1)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert share == order.batch(3, 10**6)[4096:]
    assert most < 2**22


@given(ORDERS, st.integers(0, 5))
def test_an_epoch_sees_no_sample_twice_and_leaves_out_less_than_a_batch(order, epoch):
    seen = [index for step in range(order.steps) for index in order.batch(epoch, step)]
    assert len(seen) == len(set(seen)) == order.samples // order.global_batch * order.global_batch
    assert set(seen) <= set(range(order.samples))


@given(st.integers(0, 2**62), st.integers(0, 1000))
def test_the_order_is_a_function_of_seed_and_epoch(seed, epoch):
    order = Order(50, 50, seed)
    assert order.batch(epoch, 0) == Order(50, 50, seed).batch(epoch, 0)
    assert order.batch(epoch, 0) != order.batch(epoch + 1, 0)
    assert order.batch(epoch, 0) != Order(50, 50, seed + 1).batch(epoch, 0)


def test_what_an_epoch_leaves_out_differs_from_epoch_to_epoch():
    order = Order(11, 4, 0)
    used = [{index for step in range(2) for index in order.batch(epoch, step)} for epoch in range(20)]
    assert len({frozenset(range(11)) - part for part in used}) > 10
    assert set.union(*used) == set(range(11))


def test_the_order_stays_the_same_over_versions():
    # A run that was begun with an earlier version goes on with the same samples.
    assert Order(10, 5, 7).batch(3, 1) == [6, 2, 5, 1, 8]
    assert mix(1, 2) == 8854627303482016855


def test_seeds_differ_by_each_number_and_its_place():
    assert len({mix(1, 2), mix(2, 1), mix(12), mix(1, 2, 0), mix(-1, 2)}) == 5
    assert all(0 <= mix(number) < 2**63 for number in range(100))


@given(st.lists(st.integers()), st.integers(1, 9))
def test_shares_make_up_the_list(items, parts):
    assert [item for rank in range(parts) for item in share(items, rank, parts)] == items


def test_a_split_below_one_batch_is_refused():
    with pytest.raises(UserError, match=r"has 7 samples, the global batch is 8.*to 7 at most"):
        Order(7, 8, 0)
    assert Order(8, 8, 0).steps == 1


def test_an_epoch_that_is_cut_short_begins_as_the_whole_one():
    sources = [Source("a", range(50)), Source("b", range(50, 80))]
    whole, short = (Sources(sources, 10, 7, most) for most in (None, 5))
    assert (whole.steps, short.steps, Sources(sources, 10, 7, 9).steps) == (8, 5, 8)
    assert list(short.shares(1, 0, 0, 1)) == list(whole.shares(1, 0, 0, 1))[:5]
