"""Samples that are drawn: the same for the same seed, split and index, and others for others."""

from typing import ClassVar

import pytest

from sensorium import UserError
from sensorium.builtin.datasets.drawn import Drawn, DrawnSplit


class Dice(Drawn):
    splits = ("train", "test", "turned")

    def draw(self, split):
        return Throws(split, self.config)


class Throws(DrawnSplit):
    homes: ClassVar[dict[str, str]] = {"turned": "test"}

    def sample(self, index, random):
        thrown = int(random.integers(1_000_000))
        return {
            "thrown": -thrown if self.split == "turned" else thrown,
            "again": int(self.random(index, 1).integers(9)),
        }


def thrown(split, seed=0):
    world = Dice(Dice.Config(train=5, held_out=3, seed=seed)).open(split)
    return [world[index]["thrown"] for index in range(len(world))]


def test_a_sample_follows_from_seed_split_and_index():
    assert thrown("train") == thrown("train")
    assert len({*thrown("train"), *thrown("test"), *thrown("train", 1)}) == 13, "all differ"


def test_a_split_may_show_the_samples_of_another():
    assert thrown("turned") == [-number for number in thrown("test")]
    turned = Dice(Dice.Config()).open("turned")
    assert turned[2]["id"] == "turned/2"
    assert len(turned) == 500


def test_what_is_not_there_is_refused():
    world = Dice(Dice.Config(train=5))
    with pytest.raises(UserError, match=r"'tset'.*Did you mean 'test'"):
        world.open("tset")
    for index in (-1, 5):
        with pytest.raises(IndexError):
            world.open("train")[index]
