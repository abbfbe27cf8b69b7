"""Digits that move: whereto is told by the order of the frames, and by nothing else."""

from collections import Counter

import numpy as np
import pytest

from sensorium.errors import UserError
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins
from sensorium_worlds.moving import DIRECTIONS, KINDS, DigitsMoving, moving


@pytest.fixture(scope="module")
def world():
    plugins = Plugins()

    def build(**options):
        return parse(DigitsMoving.Config, {"source": "digits", "train": 200, **options}, plugins).build()

    return build


def middles(video):
    """Returns the row and column where the ink of each frame lies, (F, 2)."""
    ink = np.clip(video.astype(float).max(-1) - 40, 0, None)
    rows, columns = np.mgrid[: ink.shape[1], : ink.shape[2]]
    return np.stack([(ink * each).sum((1, 2)) / ink.sum((1, 2)) for each in (rows, columns)], 1)


@pytest.mark.parametrize("direction", DIRECTIONS)
def test_a_digit_moves_evenly_whereto_it_is_said(direction):
    ink = np.full((8, 8), 255, np.uint8)
    video = moving(ink, (255, 0, 0), DIRECTIONS[direction], 32, 8, np.random.default_rng(0))
    steps = np.diff(middles(video), axis=0)
    along = steps @ np.array(DIRECTIONS[direction])
    assert (along > 0.5).all()
    assert np.abs(steps @ np.array(DIRECTIONS[direction])[::-1]).max() < 0.5, "not sideways"
    assert np.ptp(along) <= 1.1


def test_the_middle_of_the_way_does_not_tell_the_direction():
    ink = np.full((8, 8), 255, np.uint8)
    ways = {
        name: middles(moving(ink, (255, 255, 255), step, 32, 8, np.random.default_rng(3))).mean(0)
        for name, step in DIRECTIONS.items()
    }
    for way in ways.values():
        assert np.abs(way - ways["left"]).max() < 0.6


def test_what_is_said_is_true_and_no_two_of_160_are_alike(world):
    split = world(held_out=160).open("test")
    samples = [split[index] for index in range(len(split))]
    assert len({(each["colour"], each["digit"], each["direction"]) for each in samples}) == len(KINDS) == 160
    for sample in samples[:40]:
        assert {sample["colour"], sample["digit"], sample["direction"]} <= set(sample["caption"].split())
        assert sample["group"] == f"{sample['colour']} {sample['digit']} {sample['direction']}", "in whatever words"
        whole = middles(sample["video"][0])
        assert (whole[-1] - whole[0]) @ np.array(DIRECTIONS[sample["direction"]]) > 3
    assert set(Counter(each["direction"] for each in samples).values()) == {40}
    back = {"left": "right", "right": "left", "up": "down", "down": "up"}
    for one, other in zip(samples[::2], samples[1::2], strict=True):
        assert (other["colour"], other["digit"]) == (one["colour"], one["digit"])
        assert other["direction"] == back[one["direction"]]


def test_shuffled_videos_are_the_test_videos_with_their_frames_in_another_order(world):
    test, shuffled = (world().open(split) for split in ("test", "shuffled"))
    moved = 0
    for index in range(20):
        one, other = test[index]["video"][0], shuffled[index]["video"][0]
        assert sorted(frame.tobytes() for frame in one) == sorted(frame.tobytes() for frame in other)
        moved += not (one == other).all()
        assert shuffled[index]["group"] == f"{test[index]['colour']} {test[index]['digit']}"
    assert moved >= 19


def test_no_handwriting_crosses_and_records_follow_from_the_seed(world):
    train, test = (world().open(split) for split in ("train", "test"))
    ink = [
        {np.asarray(split.source[int(place)]["image"]).tobytes() for pool in split.pool.values() for place in pool}
        for split in (train, test)
    ]
    assert ink[0].isdisjoint(ink[1])
    assert (world().open("train")[7]["video"][0] == train[7]["video"][0]).all()
    assert (world(seed=1).open("train")[7]["video"][0] != train[7]["video"][0]).any()


@pytest.mark.parametrize(
    ("options", "wrong"), [({"frames": 1}, "frames at least 2"), ({"side": 8}, "side at least 16")]
)
def test_what_cannot_be_drawn_is_refused(world, options, wrong):
    with pytest.raises(UserError, match=wrong):
        world(**options)
