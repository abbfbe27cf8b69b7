import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sensorium import UserError
from sensorium.assembly.splits import Without, open_splits
from toys import Points

HUGE = 10**10


class Endless(Points):
    """A dataset of ten thousand million samples, made when they are asked for."""

    def open(self, split):
        class Made:
            def __len__(self):
                return HUGE

            def __getitem__(self, index):
                return {"id": f"{split}/{index}", "x": [float(index)]}

        return Made()


class Files(Points):
    """Twenty samples, four to a file."""

    splits = ("train",)

    def open(self, split):
        return [{"id": str(index), "x": f"{index // 4}.png"} for index in range(20)]


class Named:
    """A modality that reads files."""

    accepts = ("image/png",)


@given(st.integers(0, 60), st.sets(st.integers(0, 59)))
def test_without_are_the_others_in_order(count, left_out):
    left_out = {number for number in left_out if number < count}
    others = Without(count, left_out)
    assert list(others) == [number for number in range(count) if number not in left_out]
    assert len(others) == count - len(left_out)
    with pytest.raises(IndexError):
        others[len(others)]


@pytest.mark.parametrize(
    ("options", "learnt", "count"),
    [
        ({}, {}, HUGE),
        ({"limit": {"train": HUGE - 1}}, {}, HUGE - 1),
        ({"broken": "skip"}, {"train": [(3, "cut"), (HUGE - 2, "cut")]}, HUGE - 2),
        ({"broken": "skip", "limit": {"train": 9_000_000_000}}, {"train": [(3, "cut")]}, 8_999_999_999),
    ],
)
def test_the_samples_of_a_huge_split_are_never_listed(options, learnt, count):
    dataset = Endless(Endless.Config(**options))
    tracemalloc.start()
    split = open_splits(dataset, {}, learnt, 1, look=False)["train"]
    last = split[count - 1]["id"]
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(split) == count
    assert last == f"train/{options.get('limit', {}).get('train', HUGE) - 1}"
    assert most < 2**20


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5, 0.99])
def test_what_is_held_out_are_whole_files_and_the_same_every_time(share):
    first, again = (open_splits(Files(Files.Config(holdout=share)), {"x": Named()}, {}, 1, look=True) for _ in range(2))
    train, validation = ([sample["id"] for sample in first[name]] for name in ("train", "validation"))
    assert sorted(train + validation, key=int) == [str(index) for index in range(20)]
    assert {int(index) // 4 for index in train}.isdisjoint({int(index) // 4 for index in validation})
    assert len(validation) == min(16, -(-round(20 * share) // 4) * 4 or 4)
    assert [sample["id"] for sample in again["validation"]] == validation


def test_without_files_exactly_the_share_is_held_out():
    splits = open_splits(Files(Files.Config(holdout=0.25)), {}, {}, 1, look=True)
    assert [len(splits[name]) for name in ("train", "validation")] == [15, 5]
    assert {sample["id"] for name in splits for sample in splits[name]} == {str(index) for index in range(20)}


def test_a_single_file_cannot_be_divided():
    class One(Files):
        def open(self, split):
            return [{"id": str(index), "x": "one.png"} for index in range(20)]

    with pytest.raises(UserError, match="keeps nothing apart"):
        open_splits(One(One.Config(holdout=0.25)), {"x": Named()}, {}, 1, look=True)
