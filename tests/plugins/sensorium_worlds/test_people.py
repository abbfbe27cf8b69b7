"""People: strangers in each split, a voice that tells half of the face, and pictures that show each feature."""

import math

import numpy as np
import pytest

from sensorium_worlds.people import HEARD, UNHEARD, People
from sensorium_worlds.portrait import Features, Look, photograph, portrait

SMALL = {"train": 24, "known": 8, "held_out": 8}


def split(name, **more):
    return People(People.Config(**{**SMALL, **more})).open(name)


def test_nobody_is_in_two_splits_and_no_recording_or_photograph_comes_twice():
    samples = [part[place] for part in map(split, ("train", "validation", "test")) for place in range(len(part))]
    assert len({sample["identity"] for sample in samples}) == 3 * 8
    for field, different in (("image", 24 + 16), ("passport", 24)):
        assert len({sample[field].tobytes() for sample in samples}) == different, field
    assert len({sample["audio"][0].tobytes() for sample in samples}) == 24 + 16


def test_a_person_stays_the_same():
    train = split("train")
    one, again, other = train[1], train[9], train[2]
    assert one["identity"] == again["identity"] != other["identity"]
    assert np.array_equal(one["passport"], again["passport"])
    assert not np.array_equal(one["image"], again["image"])
    assert not np.array_equal(one["audio"][0], again["audio"][0])
    assert all(one[name] == again[name] for name in (*HEARD, *UNHEARD))
    assert np.array_equal(split("train")[1]["audio"][0], one["audio"][0]), "a function of seed, split and index"


def test_the_voice_tells_half_of_the_face():
    world = split("train", train=400, known=400)
    people = [world.person(who) for who in range(400)]
    heard = {
        "jaw": [math.log(voice.size) for _, voice in people],
        "brows": [math.log(voice.pitch) for _, voice in people],
        "beard": [math.log(voice.breath) for _, voice in people],
        "fall": [voice.fall for _, voice in people],
        "pace": [voice.pace for _, voice in people],
    }
    for name in (*HEARD, *UNHEARD):
        seen = [getattr(face, name) for face, _ in people]
        for what, values in heard.items():
            r = abs(np.corrcoef(seen, values)[0, 1])
            assert r > 0.999 if what == name else r < 0.2, (name, what)


def test_shuffled_voices_are_those_of_others_in_training_alone():
    for name, same in (("train", False), ("test", True)):
        right, shuffled = split(name), split(name, shuffle_pairs=True)
        pairs = [(right[place], shuffled[place]) for place in range(len(right))]
        assert all(np.array_equal(one["image"], other["image"]) for one, other in pairs)
        equal = [np.array_equal(one["audio"][0], other["audio"][0]) for one, other in pairs]
        assert all(equal) if same else np.mean(equal) < 0.4


def test_what_nobody_reads_is_not_made():
    part = split("test").narrow({"image", "jaw"})
    assert {"audio", "passport"}.isdisjoint(part[0])
    assert np.array_equal(part[0]["image"], split("test")[0]["image"])


@pytest.mark.parametrize("name", [*HEARD, *UNHEARD])
def test_each_feature_is_seen(name):
    plain = dict.fromkeys((*HEARD, *UNHEARD), 0.0)
    low, high = (portrait(Features(**{**plain, name: value}), Look(), 40) for value in (-1.0, 1.0))
    moved = np.abs(low - high).max(2)
    assert moved.max() > 25
    assert np.array_equal(moved > 1, (moved > 1)[:, ::-1]), "a face is its own mirror image"


def test_photographs_differ_in_what_is_not_the_person():
    face = Features(*[0.0] * 6)
    shots = [photograph(face, np.random.default_rng(seed), 40).astype(float) for seed in range(2)]
    assert np.abs(shots[0] - shots[1]).mean() > 10


@pytest.mark.parametrize("wrong", [{"known": 0}, {"held_out": 0}, {"train": 7}, {"side": 8}, {"seconds": 0}])
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match="at least"):
        People.Config(**{**SMALL, **wrong})
