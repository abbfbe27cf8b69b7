"""The canvas: what is said of a scene is true of it, and no handwriting crosses from training to test."""

from collections import Counter

import numpy as np
import pytest

from sensorium.errors import UserError
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins
from sensorium_worlds import canvas, words
from sensorium_worlds.canvas import DigitsCanvas
from sensorium_worlds.scene import COLOURS, DIGITS, PLACES, Item, draw


@pytest.fixture(scope="module")
def plugins():
    return Plugins()


@pytest.fixture(scope="module")
def world(plugins):
    def build(**options):
        return parse(
            DigitsCanvas.Config, {"source": "digits", "train": 400, "held_out": 200, **options}, plugins
        ).build()

    return build


@pytest.fixture(scope="module")
def train(world):
    split = world().open("train")
    return [split[index] for index in range(len(split))]


def test_what_is_told_is_the_same_where_nothing_is_drawn(world):
    whole, again = world().open("train"), world().open("train")
    told = whole.narrow({"caption"})
    assert "image" not in told[7]
    drawn = whole[7]
    assert {name: drawn[name] for name in told[7]} == told[7]
    assert (again[7]["image"] == drawn["image"]).all()
    assert whole.narrow({"image", "caption"})[7] is drawn, "drawn once"


def test_a_drawing_worked_out_by_hand():
    ink = np.full((8, 8), 255, np.uint8)
    drawing = draw([Item("one", "red", "bottom left", 0)], [ink], 16, np.random.default_rng(0))
    (left, top, right, bottom) = drawing.boxes[0]
    assert drawing.pixels.shape == (32, 32, 3)
    assert 0 <= left < right <= 16 <= top < bottom <= 32
    inside = drawing.pixels[top:bottom, left:right].reshape(-1, 3).mean(0)
    assert np.abs(inside - COLOURS["red"]).max() < 3, "the noise has mean 0"
    outside = drawing.pixels.astype(float).sum() - drawing.pixels[top:bottom, left:right].astype(float).sum()
    assert outside / (32 * 32 * 3) < 6


def test_captions_worked_out_by_hand():
    items = [Item("seven", "blue", "bottom right", 0), Item("three", "red", "top left", 1)]
    said = words.captions(items)
    assert said[0] == "a red three at the top left and a blue seven at the bottom right"
    assert said[2] == "at the top left a red three, at the bottom right a blue seven"
    assert len(set(said)) == 5
    for caption in said:
        assert words.triples(caption) == {item.triple for item in items}
    assert words.tags(items) == ["bottom right blue", "bottom right seven", "top left red", "top left three"]
    assert words.things(items) == ["blue seven", "red three"]
    assert words.properties(items) == ["blue", "red", "seven", "three"]


def test_a_record_is_a_function_of_seed_split_and_index(world):
    first, again = world().open("train"), world().open("train")
    other = world(seed=1).open("train")
    for index in (7, 0, 399):
        one, two = first[index], again[index]
        assert np.array_equal(one.pop("image"), two.pop("image"))
        assert one == two
        assert one["scene"] != other[index]["scene"]
    with pytest.raises(IndexError):
        first[400]


def test_a_scene_is_drawn_once_however_often_it_is_read(world, monkeypatch):
    drawn = []
    monkeypatch.setattr(canvas, "draw", lambda *given: drawn.append(given) or draw(*given))
    split = world().open("train")
    first = split[3]
    assert split[3] is first
    assert len(drawn) == 1


def test_no_handwriting_crosses_from_one_split_to_another(world):
    used = {}
    for split in ("train", "validation", "test"):
        opened = world(train=2000, held_out=2000).open(split)
        source = "test" if split == "test" else "train"
        used[split] = {(source, item["sample"]) for index in range(2000) for item in opened[index]["scene"]}
        assert len(used[split]) > 100
    assert not used["train"] & used["validation"]
    assert not used["train"] & used["test"]


def test_boxes_lie_in_the_cells_that_the_scene_names(train):
    for sample in train[:50]:
        for (left, top, right, bottom), item in zip(sample["boxes"], sample["scene"], strict=True):
            row, column = divmod(PLACES.index(item["place"]), 2)
            assert column <= 2 * left < 2 * right <= column + 1
            assert row <= 2 * top < 2 * bottom <= row + 1
        assert len({item["place"] for item in sample["scene"]}) == len(sample["scene"])


def answered(sample):
    """Returns the answers that are true of a scene."""
    scene, text = sample["scene"], sample["question"].split()
    if sample["type"] == "colour":
        return {item["colour"] for item in scene if item["digit"] == text[-1]}
    if sample["type"] == "digit":
        return {item["digit"] for item in scene if item["colour"] == text[-1]}
    if sample["type"] == "exists":
        return {"yes" if any([item["colour"], item["digit"]] == text[-2:] for item in scene) else "no"}
    return {words.COUNTS[len(scene) - 1]}


def test_each_answer_is_the_only_true_one(train):
    for sample in train:
        assert answered(sample) == {sample["answer"]}, sample


def test_a_question_is_asked_of_two_scenes_with_two_answers(train):
    for first, second in zip(train[::2], train[1::2], strict=True):
        assert first["question"] == second["question"]
        assert first["answer"] != second["answer"]


@pytest.mark.parametrize(
    "options",
    [
        {"most": 2},
        {"least": 2},
        {"least": 4, "most": 4},
        {"most": 4},
        {"unseen": ["red three", "blue seven"]},
        {"unseen": ["red three"]},
        {"unseen": [f"red {digit}" for digit in DIGITS]},
        {"unseen": [f"{colour} three" for colour in COLOURS]},
        {"unseen": [f"{colour} {digit}" for colour in COLOURS for digit in DIGITS][1:]},
    ],
)
def test_whatever_scenes_hold_they_are_asked_in_pairs(world, options):
    for split in ("train", "validation", "test"):
        opened = world(**options).open(split)
        samples = [opened[index] for index in range(200)]
        least, most = options.get("least", 1), options.get("most", 3)
        assert all(least <= len(sample["scene"]) <= most for sample in samples)
        assert all(answered(sample) == {sample["answer"]} for sample in samples)
        for first, second in zip(samples[::2], samples[1::2], strict=True):
            assert first["question"] == second["question"]
            assert first["answer"] != second["answer"]


def test_four_digits_are_counted(world):
    opened = world(most=4).open("train")
    counted = [sample["answer"] for sample in map(opened.__getitem__, range(400)) if sample["type"] == "count"]
    assert set(counted) == {"one", "two", "three", "four"}


def test_scenes_without_a_question_are_refused(world):
    opened = world(least=2, most=2, unseen=["red three"]).open("test")
    with pytest.raises(UserError, match=r"No question has two answers in scenes of 2 to 2 digits"):
        opened[0]
    with pytest.raises(UserError, match="none is left for the training split"):
        world(unseen=[f"{colour} {digit}" for colour in COLOURS for digit in DIGITS])


def test_the_question_alone_tells_nothing(train):
    """The best answer to each question, had one seen all of the training split, is right half the time at most."""
    by_text = {}
    for sample in train:
        by_text.setdefault(sample["question"], Counter())[sample["answer"]] += 1
    best = sum(max(counts.values()) for counts in by_text.values() if sum(counts.values()) >= 20)
    asked = sum(sum(counts.values()) for counts in by_text.values() if sum(counts.values()) >= 20)
    assert asked > 50
    assert best / asked < 0.55
    assert min(Counter(sample["type"] for sample in train).values()) > 60


def test_unseen_combinations_are_in_the_test_split_alone(world):
    unseen = ["red three", "blue seven"]
    shown = {}
    for split in ("train", "test"):
        opened = world(unseen=unseen, most=1, least=1).open(split)
        shown[split] = {f"{s['colour']} {s['label']}" for s in (opened[index] for index in range(len(opened)))}
    assert shown["test"] == set(unseen)
    assert not shown["train"] & set(unseen)


def test_a_source_of_something_else_is_refused(world, data):
    with pytest.raises(UserError, match=r"dataset.source has no field 'label'"):
        world(source={"name": "easy_vqa", "root": str(data / "easy-VQA/data")}).open("train")


def test_a_combination_that_is_none_is_refused(world):
    with pytest.raises(UserError, match="'three red' is not a colour and a digit"):
        world(unseen=["three red"])


def test_a_canvas_of_one_cell_shows_one_digit_without_a_place(world):
    split = world(cells=1, least=1, most=1, cell=12).open("train")
    for sample in (split[index] for index in range(30)):
        assert sample["image"].shape == (12, 12, 3)
        (left, top, right, bottom) = sample["boxes"][0]
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert sample["tags"] == sorted((sample["colour"], sample["digit"]))
        assert sample["group"] == f"a {sample['colour']} {sample['digit']}"
        assert sample["caption"] in sample["captions"]
        assert all(f"{sample['colour']} {sample['digit']}" in caption for caption in sample["captions"])
    with pytest.raises(UserError, match="between 1 and 1"):
        world(cells=1)


def test_the_complete_split_shows_all_combinations_in_the_training_handwriting(world):
    opened = world(unseen=["red three", "blue seven"], most=1, train=2000).open("complete")
    samples = [opened[index] for index in range(len(opened))]
    assert {"red three", "blue seven"} < {f"{s['colour']} {s['digit']}" for s in samples}
    training = world(most=1, train=2000).open("train").pool
    assert all(item["sample"] in training[item["digit"]] for s in samples for item in s["scene"])


def test_no_pixels_of_a_digit_cross_from_one_split_to_another(world):
    """By what is drawn, whatever the numbers of samples say: one digit on an empty canvas, colour taken away."""
    drawn = {}
    for split in ("train", "validation", "test"):
        opened = world(cells=1, least=1, most=1, train=600, held_out=300).open(split)
        drawn[split] = {(np.asarray(opened[index]["image"]).max(-1) > 100).tobytes() for index in range(len(opened))}
        assert len(drawn[split]) > 50
    assert not drawn["train"] & drawn["validation"]
    assert not drawn["train"] & drawn["test"]


def test_attributes_are_the_words_of_a_scene_each_by_itself():
    assert words.attributes([Item("seven", "blue", "bottom right", 0)]) == [
        "blue",
        "blue seven",
        "bottom right",
        "seven",
    ]
