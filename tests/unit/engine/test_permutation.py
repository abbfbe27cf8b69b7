import tracemalloc

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sensorium.engine.permutation import MOST, Permutation

POWERS = [2**power + more for power in range(2, 13) for more in (-1, 0, 1)]
SIZES = sorted({1, 2, 3, 4, 5, 7, 11, 97, 997, 1000, 4999, *POWERS})
LIMIT = 4.5
"""Standard deviations of chi square from its mean; keys are fixed, so that a test holds always or never."""


def far(counts, expected):
    """Returns by how many standard deviations chi square lies above its mean."""
    freedom = counts.size - 1
    return (np.square(counts - expected).sum() / expected - freedom) / np.sqrt(2 * freedom)


@pytest.mark.parametrize("size", SIZES)
def test_each_number_comes_once_and_is_found_again(size):
    for key in range(3):
        permutation = Permutation(size, key)
        numbers = permutation.at(range(size))
        assert np.array_equal(np.sort(numbers), np.arange(size))
        assert np.array_equal(permutation.places(numbers), np.arange(size))


@given(st.integers(1, MOST), st.integers(0, 2**63 - 1), st.lists(st.integers(0, 2**63), min_size=1, max_size=20))
@example(MOST, 0, [0, MOST - 1])
def test_of_any_size_what_stands_somewhere_is_inside_and_found_again(size, key, drawn):
    places = sorted({place % size for place in drawn})
    permutation = Permutation(size, key)
    numbers = permutation.at(places)
    assert len(set(numbers.tolist())) == len(places)
    assert ((numbers >= 0) & (numbers < size)).all()
    assert permutation.places(numbers).tolist() == places


def test_the_numbers_stay_the_same_over_versions():
    # A run that was begun with an earlier version goes on with the same samples.
    assert Permutation(10, 7).at(range(10)).tolist() == [1, 8, 2, 5, 4, 9, 7, 0, 3, 6]
    assert Permutation(10**10, 7).at(range(3)).tolist() == [3836888605, 3154678506, 2316646476]


@pytest.mark.parametrize("size", [2, 3, 4, 5])
def test_each_order_of_a_few_is_equally_likely(size):
    found = np.array([Permutation(size, key).at(range(size)) for key in range(3000)])
    _, counts = np.unique(found, axis=0, return_counts=True)
    orders = int(np.prod(range(1, size + 1)))
    assert len(counts) == orders
    assert far(counts, len(found) / orders) < LIMIT


@pytest.mark.parametrize("size", [7, 16, 17, 33])
def test_each_number_is_equally_likely_at_each_place(size):
    found = np.array([Permutation(size, key).at(range(size)) for key in range(2000)])
    counts = np.array([np.bincount(column, minlength=size) for column in found.T])
    # A row or column of `counts` follows from the others: (size - 1)^2 degrees of freedom.
    chi = np.square(counts - len(found) / size).sum() / (len(found) / size)
    assert abs(chi - (size - 1) ** 2) < LIMIT * np.sqrt(2) * (size - 1)


@pytest.mark.parametrize("size", [1000, 2**16, 10**6 + 3, 10**10])
def test_neighbours_tell_nothing_of_each_other(size):
    """Of pairs at neighbouring places, in 10 x 10 boxes, and of their distance."""
    count = min(size - 1, 200_000)
    pairs, distances = np.zeros((10, 10)), np.zeros(50)
    for key in range(3 if count > 10_000 else 200):
        numbers = Permutation(size, key).at(range(count + 1))
        box = numbers * 10 // size
        np.add.at(pairs, (box[:-1], box[1:]), 1)
        distances += np.bincount(np.diff(numbers) % size * 50 // size, minlength=50)
    assert far(pairs, pairs.sum() / 100) < LIMIT
    assert far(distances, distances.sum() / 50) < LIMIT


def test_orders_of_two_keys_agree_as_seldom_as_by_chance():
    size = 10_007
    orders = [Permutation(size, key).at(range(size)) for key in (*range(8), 2**62, 2**62 + 1)]
    for number, one in enumerate(orders):
        for other in orders[:number]:
            assert np.count_nonzero(one == other) < 10  # one is expected
            assert abs(np.corrcoef(one, other)[0, 1]) < LIMIT / np.sqrt(size)


def test_ten_thousand_million_samples_take_no_memory():
    permutation = Permutation(10**10, 1)
    tracemalloc.start()
    for turn in range(20):
        numbers = permutation.at(range(turn * 8192, (turn + 1) * 8192))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(set(numbers.tolist())) == 8192
    assert most < 2**21


@pytest.mark.parametrize("size", [0, -1, MOST + 1])
def test_a_size_outside_is_refused(size):
    with pytest.raises(ValueError, match="1 to"):
        Permutation(size, 0)
