"""Which handwriting the worlds draw from: every digit, and nothing else."""

import pytest

from sensorium import UserError
from sensorium_worlds.handwriting import pool_of
from sensorium_worlds.scene import DIGITS


def source(*labels):
    return [{"label": label} for label in labels]


def test_labels_are_names_or_numbers_of_digits():
    found = pool_of(source(*DIGITS, *range(10)), "test")
    assert found == {digit: [place, place + 10] for place, digit in enumerate(DIGITS)}


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        ((*range(10), 12), "Sample 10 .* has the label '12'"),
        ((*range(10), "cat"), "Sample 10 .* has the label 'cat'"),
        ((*range(10), "²"), "Sample 10 .* has the label '²'"),
        (range(9), "The split 'test' draws from 9 samples .* none is 'nine'"),
    ],
)
def test_what_is_not_all_digits_is_refused(labels, says):
    with pytest.raises(UserError, match=says):
        pool_of(source(*labels), "test")
