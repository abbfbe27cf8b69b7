"""People who talk: lips follow the sound by the rule, a little ahead, and landmarks lie where the film shows them."""

import numpy as np
import pytest

from sensorium import sources_of
from sensorium_worlds import face
from sensorium_worlds.formants import RATE
from sensorium_worlds.moving_lips import MovingLips, Talking, in_pixels, lips, openness

STILL = (np.zeros(1) + 48 + 40j, np.zeros(1) + 24 + 0j)
"""A face in the middle of a frame of 96 pixels, whose eyes are 24 apart."""


def world(**options):
    return MovingLips.Config(**{"train": 40, "held_out": 20, **options}).build()


def tone(hertz, seconds=0.5):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * RATE)) / RATE)).astype(np.float32)


def silence(seconds=0.5):
    return np.zeros(int(seconds * RATE), np.float32)


def test_lips_open_before_an_open_vowel_is_heard_and_close_more_slowly():
    opened, _ = lips(np.concatenate([silence(), tone(800), silence()]), 150)
    assert opened[:41].max() < 0.05, "100 ms before it, the mouth is shut"
    assert opened[49] > 0.4, "as it begins, it is open already"
    assert opened[80] == pytest.approx(1, abs=0.05)
    rise = np.flatnonzero(opened > 0.63)[0] - np.flatnonzero(opened > 0.01)[0]
    fall = np.flatnonzero(opened[90:] < 0.37)[0] - np.flatnonzero(opened[90:] < 0.99)[0]
    assert rise < 5 < fall


def test_lips_are_ahead_of_the_sound_by_60_ms():
    sounds = [world().open("train")[place]["audio"][0] for place in range(12)]
    from sensorium_worlds.mouth import aperture

    told = [aperture(sound, 200) * openness(sound, 200) for sound in sounds]
    opened = [lips(sound, 200)[0] for sound in sounds]

    def r(late):
        return np.mean([np.corrcoef(o[: 200 - late], t[late:])[0, 1] for o, t in zip(opened, told, strict=True)])

    assert 4 <= max(range(15), key=r) <= 7, "40 to 70 ms"


def test_hissing_and_closed_vowels_are_said_with_a_mouth_that_is_hardly_open():
    assert [round(float(openness(tone(each), 50)[10:40].mean()), 1) for each in (300, 800, 3000)] == [0, 1, 0]


def test_lips_take_the_width_of_what_is_loud_and_rest_in_silence():
    _, apart = lips(np.concatenate([tone(500), silence(), tone(2500), silence(1.5)]), 120)
    assert apart[15] < 0.2
    assert apart[50] > 0.8
    assert apart[50] > apart[80] > apart[119] == pytest.approx(0.5, abs=0.05)


def test_landmarks_lie_where_the_film_shows_them():
    """The lips' inner edge is where dark meets lip, and the eyes' landmarks lie around what is white and black."""
    opened, apart = np.array([0.8]), np.array([0.5])
    film = face.film(face.look("x"), opened, apart, STILL, 96, np.random.default_rng(0))[0].astype(int)
    x, y = in_pixels(face.landmarks(opened, apart), STILL).reshape(68, 2).T
    dark = film.sum(-1) < 90
    rows = np.flatnonzero(dark[:, 48]) + 0.5
    rows = rows[rows > 55]
    assert rows.max() == pytest.approx(y[66], abs=1)
    columns = np.flatnonzero(dark[int(y[60]) + 2]) + 0.5
    assert x[60] < columns.min() < columns.max() < x[64]
    white = (film.min(-1) > 215)[:50]
    seen = np.argwhere(white)[:, 1] + 0.5
    assert x[36] - 1 < seen.min() < x[36] + 3
    assert x[45] - 3 < seen.max() < x[45] + 1


def test_the_mouth_is_as_high_and_as_wide_as_it_is_told():
    points = face.landmarks(np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert (points[:, 66] - points[:, 62]).imag == pytest.approx([0, sum(face.edges(np.ones(1)))[0]])
    assert (points[:, 54] - points[:, 48]).real == pytest.approx([0.32, 1.04])
    assert points[:, 36:42].mean(1) == pytest.approx([-0.5, -0.5])
    assert points[:, 42:48].mean(1) == pytest.approx([0.5, 0.5])


def test_a_sample_has_its_own_face_and_a_film_of_the_same_person(recordings):
    split = world(recordings=recordings, side=32, seconds=1).open("test")
    sample = split[0]
    assert len(sample["audio"][0]) == RATE
    assert sample["landmarks"].shape == sample["target_landmarks"].shape == (25, 136)
    assert sample["target"][0].shape == (25, 32, 32, 3)
    assert not np.allclose(sample["landmarks"], sample["target_landmarks"]), "another moment"
    assert all(take.split("/")[1] == sample["speaker"] for take in sample["takes"])
    known = {}
    for place in range(20):
        wall = split[place]["target"][0][:, :, :2].astype(float).mean((0, 1, 2))
        known.setdefault(split[place]["speaker"], []).append(wall)
    assert len(known) > 2
    assert all(np.abs(np.array(walls) - walls[0]).max() < 15 for walls in known.values()), "each has one look"


@pytest.fixture(params=["synthesised", "recorded"])
def recordings(request, data):
    return str(data / "free-spoken-digit-dataset") if request.param == "recorded" else None


def test_no_take_crosses_from_one_split_to_another(recordings):
    heard = {}
    for name in ("train", "validation", "test"):
        split = world(recordings=recordings, train=20).open(name)
        films = [take for speaker in sorted(split.takes) for take in _filmed(split, speaker)]
        heard[name] = {take for place in range(20) for take in split.narrow(["audio"])[place]["takes"]} | set(films)
    assert not heard["train"] & heard["test"]
    assert not heard["train"] & heard["validation"]
    assert not heard["validation"] & heard["test"]


def _filmed(split, speaker):
    """Returns the takes that are said in a person's first film."""
    random = split.random(0, 4, sorted(split.takes).index(speaker))
    return split.said(speaker, random)[1]


def test_training_samples_have_no_film_and_readers_of_few_fields_get_the_same():
    train = world().open("train")
    small = {"side": 32, "seconds": 0.4}
    assert set(train[0]) == {"id", "speaker", "audio", "takes", "landmarks"}
    assert sources_of(train)[0].fields == {"audio", "landmarks", "speaker"}
    test = world(**small).open("test")
    for few in (["landmarks"], ["audio"], ["target"], ["speaker"]):
        part, whole = test.narrow(few)[3], test[3]
        for name in few:
            first, second = part[name], whole[name]
            if name in ("audio", "target"):
                first, second = first[0], second[0]
            assert np.array_equal(first, second)
        assert part["speaker"] == whole["speaker"]
    assert np.array_equal(world(**small).open("test")[3]["landmarks"], test[3]["landmarks"])
    assert not np.array_equal(world(seed=1, **small).open("test")[3]["landmarks"], test[3]["landmarks"])


def test_shuffled_training_lips_belong_to_another_sound_and_held_out_ones_do_not():
    right, wrong = (world(side=32, seconds=0.4, shuffle_pairs=each) for each in (False, True))
    assert np.array_equal(right.open("train")[0]["audio"][0], wrong.open("train")[0]["audio"][0])
    assert not np.allclose(right.open("train")[0]["landmarks"], wrong.open("train")[0]["landmarks"])
    assert np.array_equal(right.open("test")[0]["landmarks"], wrong.open("test")[0]["landmarks"])


@pytest.mark.parametrize("options", [{"side": 16}, {"seconds": 0}, {"held_out": 0}])
def test_what_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match="at least"):
        world(**options)


def test_the_time_in_a_clip_tells_nothing():
    split = world(train=200).open("train").narrow(["audio"])
    loud = np.mean([np.abs(split[place]["audio"][0]).reshape(20, -1).mean(1) for place in range(200)], 0)
    assert loud.min() > 0.75 * loud.max()


def test_lips_do_not_tell_where_the_clip_ends():
    split = world(train=200).open("train").narrow(["landmarks"])
    height = [np.diff(split[place]["landmarks"].reshape(-1, 68, 2)[:, [62, 66], 1])[:, 0] for place in range(200)]
    told = np.mean(height, 0)
    assert told[-3:].min() > 0.8 * told[3:].mean()
    assert np.corrcoef(told[3:], np.arange(len(told) - 3))[0, 1] ** 2 < 0.3


def test_silence_moves_nothing():
    opened, apart = lips(silence(), 12)
    assert not opened.any()
    assert apart == pytest.approx([0.5] * 12)
    assert isinstance(world().open("test"), Talking)
