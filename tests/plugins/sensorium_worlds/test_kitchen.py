"""The kitchen: what was added last lies on top, and twins differ in the order of two layers alone."""

import numpy as np
import pytest

from sensorium import UserError
from sensorium_worlds.kitchen import AMOUNTS, BASES, INGREDIENTS, NAMED, Kitchen, dish


@pytest.fixture(scope="module")
def test_split():
    return Kitchen(Kitchen.Config(train=50, held_out=60)).open("test")


def test_what_comes_last_covers_what_came_before():
    places = {"tomato": 0, "egg": 1, "ham": 2}
    pictures = {
        top: dish("bowl", [*(name for name in places if name != top), top], places, 32, np.random.default_rng(3))
        for top in places
    }

    def shown(picture, name):
        return int((np.abs(picture.astype(int) - INGREDIENTS[name][1]).max(2) < 30).sum())

    for name in places:
        as_top, below = (shown(pictures[top], name) for top in (name, next(each for each in places if each != name)))
        assert as_top > below + 20, name


def test_every_two_layers_overlap():
    for seed in range(20):
        places = {"tomato": 0, "cheese": 1, "lettuce": 2}
        for one, other in (("tomato", "cheese"), ("cheese", "lettuce"), ("tomato", "lettuce")):
            there, back = (
                dish("bowl", pair, places, 32, np.random.default_rng(seed)) for pair in ([one, other], [other, one])
            )
            assert (np.abs(there.astype(int) - back).max(2) > 30).sum() > 8


def test_twins_differ_in_the_order_of_two_layers_alone(test_split):
    for index in range(0, 60, 2):
        one, other = test_split[index], test_split[index + 1]
        assert (one["twin"], other["twin"]) == (other["id"], one["id"])
        assert one["recipe"]["ingredients"] == other["recipe"]["ingredients"]
        steps = [each["recipe"]["instructions"] for each in (one, other)]
        assert sorted(steps[0]) == sorted(steps[1])
        assert sum(a != b for a, b in zip(*steps, strict=True)) == 2
        assert sum(a != b for a, b in zip(one["layers"], other["layers"], strict=True)) == 2
        assert one["group"] != other["group"]


def test_a_recipe_says_the_layers_in_their_order_and_lists_them_in_none(test_split):
    sample = test_split[5]
    said = [name for step in sample["recipe"]["instructions"] for name in INGREDIENTS if name in step]
    assert said == sample["layers"]
    base, *listed = sample["recipe"]["ingredients"]
    assert base == f"one {sample['base']}"
    names = sorted(sample["layers"])
    assert all(each in {amount.format(name) for amount in AMOUNTS} for each, name in zip(listed, names, strict=True))


def test_dishes_on_some_bases_have_no_name(test_split):
    classes = {each["base"]: each["class"] for each in (test_split[index] for index in range(60))}
    assert classes == {base: NAMED.get(base, "background") for base in classes}
    assert {"background", "burger"} <= set(classes.values())
    assert set(BASES) > set(NAMED)


def test_a_sample_is_a_function_of_seed_split_and_index(test_split):
    again = Kitchen(Kitchen.Config(held_out=60)).open("test")
    assert (again[7]["image"] == test_split[7]["image"]).all()
    assert "image" not in again.narrow({"recipe"})[7]
    assert again.narrow({"recipe"})[7]["recipe"] == test_split[7]["recipe"]
    other = Kitchen(Kitchen.Config(held_out=60)).open("validation")
    assert (other[7]["image"] != test_split[7]["image"]).any()
    with pytest.raises(UserError, match="'tset'"):
        Kitchen(Kitchen.Config()).open("tset")
