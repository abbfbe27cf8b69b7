"""The world in many modalities: pairs share nothing, and what lies over a picture lies over its digit."""

import numpy as np
import pytest

from sensorium.errors import UserError
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins
from sensorium_worlds.many import KINDS, DigitsMany
from sensorium_worlds.pen import GRAVITY, PATHS, READINGS, written
from sensorium_worlds.scene import DIGITS
from sensorium_worlds.sensed import distances, temperatures

PAIRS = ("caption", "audio", "depth", "thermal", "imu")
INK = np.zeros((12, 12))
INK[2:10, 5:7] = 1


@pytest.fixture(scope="module")
def world():
    plugins = Plugins()

    def build(**options):
        return parse(DigitsMany.Config, {"source": "digits", "count": 40, **options}, plugins).build()

    return build


def test_pairs_share_no_handwriting_and_have_nothing_but_what_they_say(world):
    drawn = {}
    for pair in PAIRS:
        dataset = world(pair=pair)
        split = dataset.open("train")
        drawn[pair] = {place for places in split.pool.values() for place in places}
        labels = {"digit", "colour"} if pair == "caption" else set()
        assert set(dataset.fields) == {"image", pair} | labels
        assert set(split[0]) & set(KINDS) == set(dataset.fields)
    held = {place for places in world().open("validation").pool.values() for place in places}
    together = sum(map(len, drawn.values())) + len(held)
    assert len(set().union(held, *drawn.values())) == together, "some handwriting stands in two"


def test_the_held_out_splits_have_everything_of_one_digit(world):
    dataset = world()
    assert tuple(dataset.splits) == ("validation", "test")
    assert dict(dataset.fields) == KINDS
    for sample in (dataset.open("test")[index] for index in range(5)):
        assert sample["digit"] in sample["caption"]
        assert sample["colour"] in sample["caption"]
        assert sample["imu"].shape == (READINGS, 6)
        assert sample["image"].shape == (12, 12, 3)
        assert sample["scene"].shape == (24, 24, 3)
        assert len(sample["boxes"]) == 3
        left, top, right, bottom = (round(24 * edge) for edge in sample["boxes"][0])
        own = sample["scene"][top:bottom, left:right].astype(float).sum((0, 1)).argmax()
        shown = sample["image"].astype(float).sum((0, 1)).argmax()
        assert own == shown, "the sample's own digit is the first, in its colour"


def test_relief_and_warmth_lie_over_the_digit(world):
    for index in range(8):
        sample = world().open("test")[index]
        ink = sample["image"].max(-1) > 120
        measured = sample["depth"] > 0
        assert sample["depth"][ink & measured].mean() < sample["depth"][~ink & measured].mean() - 0.05
        assert sample["thermal"][ink].mean() > sample["thermal"][~ink].mean() + 3


def test_what_a_depth_camera_and_a_thermal_camera_measure():
    away = distances(INK, np.random.default_rng(0))
    assert ((away == 0) | ((away > 0.9) & (away < 2.8))).all()
    warm = temperatures(INK, np.random.default_rng(0))
    assert 8 < warm.min() < warm.max() < 45
    assert warm[5, 4] > warm[5, 1] + 1, "warmth spreads beyond the ink"


@pytest.mark.parametrize("digit", PATHS)
def test_a_pen_rests_feels_gravity_and_moves(digit):
    readings = written(digit, np.random.default_rng(1))
    assert readings.shape == (READINGS, 6)
    assert np.linalg.norm(readings[:, :3], axis=1).mean() == pytest.approx(GRAVITY, rel=0.05)
    assert readings[:5].std(0).max() < 0.4, "at rest there is noise alone"
    assert readings[20:60, :2].std(0).max() > readings[:5, :2].std(0).max()
    assert tuple(PATHS) == DIGITS


def test_samples_follow_from_seed_and_index_and_readers_of_few_fields_get_the_same(world):
    one, again, other = (world(**options).open("test")[3] for options in ({}, {}, {"seed": 1}))
    for field in ("image", "depth", "thermal", "imu", "scene"):
        assert np.array_equal(one[field], again[field])
        assert not np.array_equal(one[field], other[field])
        narrow = world().open("test").narrow([field])[3]
        assert np.array_equal(narrow[field], one[field])
        assert set(narrow) & set(KINDS) <= {field, "image", "caption", "digit", "colour"}


def test_shuffled_pairs_belong_to_nobody(world):
    """The picture stays; what comes with it is another sample's."""
    straight, shuffled = (world(pair="imu", shuffle_pairs=mixed).open("train") for mixed in (False, True))
    assert np.array_equal(straight[0]["image"], shuffled[0]["image"])
    assert (shuffled.others != np.arange(40)).mean() > 0.8
    told = world(pair="caption", shuffle_pairs=True).open("train")
    assert np.mean([told[index]["digit"] in told[index]["caption"] for index in range(40)]) < 0.4


@pytest.mark.parametrize(
    ("options", "split", "says"), [({"pair": "audio"}, "test", "train"), ({}, "train", "validation")]
)
def test_splits_that_are_not_there_are_refused(world, options, split, says):
    with pytest.raises(UserError, match=says):
        world(**options).open(split)
