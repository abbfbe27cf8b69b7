"""The world that is heard aloud: what is seen is heard but where it is spoilt, and nothing crosses between splits."""

import numpy as np
import pytest

from sensorium import UserError
from sensorium.builtin.datasets.digits import Digits
from sensorium_worlds.loud_and_quiet import LoudAndQuiet
from sensorium_worlds.scene import DIGITS


def world(**options):
    return LoudAndQuiet(LoudAndQuiet.Config(source=Digits.Config(), **{"train": 60, "held_out": 40, **options}))


class Spelt:
    """Speech whose sound tells the digit: a tone for each."""

    def __init__(self, takes):
        self.takes, self.asked = takes, []

    def __call__(self, take):
        self.asked.append(take)
        tone = 2 * np.pi * 300 * (1 + DIGITS.index(take.digit)) * np.arange(4000) / 8000
        return np.sin(tone).astype(np.float32)


def heard(sample):
    """Returns the digits that the tones of a sound tell."""
    spectrum = np.abs(np.fft.rfft(sample["audio"][0]))[300:3300:300]
    return {DIGITS[place] for place in np.flatnonzero(spectrum > 0.5 * spectrum.max())}


def spelt(split):
    split.speech = Spelt(split.speech.takes)
    return split


def test_what_is_seen_is_heard():
    for name in ("train", "validation", "test", "together"):
        split = spelt(world(pairs=0.5).open(name))
        found = [split[place] for place in range(20)]
        assert all(heard(sample) == set(sample["things"]) == set(sample["heard"]) for sample in found)
        counts = {len(sample["things"]) for sample in found}
        assert counts == {"train": {1, 2}, "together": {2}}.get(name, {1})


def test_in_the_last_moments_of_a_video_something_else_is_heard():
    split = spelt(world(moments=5, spoilt=3, pairs=0.3).open("train"))
    for place in range(60):
        sample = split[place]
        right = heard(sample) == set(sample["things"])
        assert right == (place % 5 < 2)
        assert heard(sample) == set(sample["heard"])
        assert right or not heard(sample) & set(sample["things"]), "of digits that are not seen"
        assert len(heard(sample)) == len(sample["things"])
    assert split[0]["group"] == split[4]["group"] != split[5]["group"]
    held_out = world(moments=5, spoilt=3).open("test")
    assert all(held_out[place]["heard"] == held_out[place]["things"] for place in range(20)), "nothing is spoilt there"


def test_a_video_shows_the_same_and_a_perfect_choice_is_of_the_same_videos():
    spoilt, perfect = world(moments=5, spoilt=3).open("train"), world(moments=2, train=24).open("train")
    for video in range(12):
        shown = {tuple(spoilt[5 * video + moment]["things"]) for moment in range(5)}
        assert shown == {tuple(perfect[2 * video + moment]["things"]) for moment in range(2)}
        assert len(shown) == 1
    assert not np.array_equal(spoilt[0]["image"], spoilt[1]["image"]), "another place and other noise"


def likeness(split):
    """Returns how the level of a sound goes with the height of its picture, and the heights."""
    samples = [split[place] for place in range(60)]
    level = [np.log10(np.mean(sample["audio"][0] ** 2)) for sample in samples]
    height = [int((sample["image"].max(axis=(1, 2)) > 80).sum()) for sample in samples]
    return np.corrcoef(level, height)[0, 1], height


def test_what_is_louder_is_larger_and_what_is_not_seen_is_as_loud_as_it_is():
    right, height = likeness(world(held_out=60).open("test"))
    assert right > 0.9
    assert abs(likeness(world(shuffle_pairs=True).open("train"))[0]) < 0.4
    assert min(height) <= 6
    assert max(height) >= 10


def test_no_handwriting_and_no_take_is_in_two_splits():
    opened = {name: world(train=300).open(name) for name in ("train", "validation", "test")}
    inks, takes = {}, {}
    for name, split in opened.items():
        inks[name] = {np.asarray(split.source[p]["image"]).tobytes() for of in split.pool.values() for p in of}
        takes[name] = {take for of in split.takes.values() for take in of}
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        assert not inks[one] & inks[other]
        assert not takes[one] & takes[other]
    together = world().open("together")
    assert together.pool == opened["test"].pool
    assert together.takes == opened["test"].takes


def test_shuffled_pairs_have_nothing_to_do_with_one_another():
    split = spelt(world(shuffle_pairs=True).open("train"))
    assert np.mean([heard(split[place]) == set(split[place]["things"]) for place in range(60)]) < 0.3
    held_out = spelt(world(shuffle_pairs=True).open("test"))
    assert all(heard(held_out[place]) == set(held_out[place]["things"]) for place in range(20))


def test_what_nobody_reads_is_not_made_and_samples_follow_from_seed_and_index():
    split = world().open("train")
    silent = spelt(split.narrow(["image"]))
    assert np.array_equal(silent[7]["image"], split[7]["image"])
    assert "audio" not in silent[7]
    assert silent.speech.asked == []
    assert not np.array_equal(world(seed=1).open("train")[7]["image"], split[7]["image"])


@pytest.mark.parametrize("options", [{"moments": 2, "spoilt": 2}, {"pairs": 1.5}, {"side": 7}, {"held_out": 0}])
def test_what_makes_no_world_is_refused(options):
    with pytest.raises(ValueError, match=r"lie|least"):
        world(**options)
    with pytest.raises(UserError, match="split"):
        world().open("few")
