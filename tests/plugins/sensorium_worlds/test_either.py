"""Digits of which no sentence says the colour, and the metric that tells which are drawn."""

import numpy as np
import pytest
import torch

from sensorium import UserError
from sensorium.plugins import Plugins
from sensorium_worlds.either import DigitsEither
from sensorium_worlds.modes import Modes, redness
from sensorium_worlds.scene import COLOURS


@pytest.fixture(scope="module")
def world():
    return DigitsEither(
        DigitsEither.Config(source=Plugins().find("dataset", "digits").Config(), train=60, held_out=200)
    )


def pictures(split):
    found = torch.stack([torch.from_numpy(split[index]["image"]) for index in range(len(split))])
    return found.permute(0, 3, 1, 2) / 127.5 - 1


def test_a_sentence_says_the_digit_and_not_the_colour(world):
    split = world.open("test")
    for sample in map(split.__getitem__, range(40)):
        assert sample["digit"] in sample["caption"]
        assert not set(COLOURS) & set(sample["caption"].split())


def test_real_pictures_are_of_two_kinds_and_none_lies_between(world):
    found = Modes(Modes.Config())({"drawn": pictures(world.open("test"))})
    assert found["between"] == 0
    assert 0.4 <= found["lesser"] <= 0.5


def test_the_mean_of_both_kinds_is_neither(world):
    split = world.open("test")
    real = pictures(split)
    mean = real.mean(0, keepdim=True).expand(10, -1, -1, -1)
    assert Modes(Modes.Config())({"drawn": mean}) == {"red": 0, "blue": 0, "between": 1, "lesser": 0}


def test_redness_is_red_less_blue_over_their_sum():
    light = torch.tensor([[0.3, 0.9, 0.1], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0]])  # red, green, blue
    assert redness(light[:, :, None, None] * 2 - 1).tolist() == pytest.approx([0.5, 0.0, -1.0], abs=1e-6)


def test_splits_share_no_picture_and_each_is_drawn_anew_alike(world):
    train, test = world.open("train"), world.open("test")
    again = DigitsEither(world.config).open("train")
    assert all(np.array_equal(train[index]["image"], again[index]["image"]) for index in range(10))
    assert not {train[i]["image"].tobytes() for i in range(60)} & {test[i]["image"].tobytes() for i in range(200)}


def test_what_draws_nothing_in_colour_is_refused():
    with pytest.raises(UserError, match="'modes' does not find its rows"):
        Modes(Modes.Config())({"drawn": torch.zeros(2, 1, 8, 8)})
