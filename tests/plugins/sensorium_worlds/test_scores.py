"""Figures of sentences about scenes, by hand."""

import pytest

from sensorium import UserError
from sensorium_worlds.scores import SceneWords, pointed

SCENE = [{"place": "top left"}, {"place": "bottom right"}]
BOXES = [(0, 0, 10 / 28, 10 / 28), (14 / 28, 16 / 28, 26 / 28, 1)]
SAID = "a red three at the top left and a blue seven at the bottom right"


def scored(**rows):
    return SceneWords.Config().build()(rows)


def test_whole_sentences_and_triples():
    figures = scored(
        generated=[SAID, "at the top left a red four , at the bottom right a blue seven"],
        references=[["there is something else", SAID][::-1], [SAID, "at the top left a red three"]],
    )
    assert figures == {"exact": 1 / 2, "triples": 3 / 4}


def test_scenes_without_places_have_no_triples():
    assert scored(generated=["a red three"], references=[["a red three"]]) == {"exact": 1}


def test_signs_do_not_count():
    assert scored(generated=["a , b"], references=[["a, b"]])["exact"] == 1


@pytest.mark.parametrize(
    ("digit", "row", "column", "hit"),
    [("three", 5, 5, True), ("three", 10, 0, True), ("three", 11, 5, False), ("nine", 5, 5, True), ("red", 5, 5, None)],
)
def test_a_look_is_right_in_the_box_of_the_place_that_is_named(digit, row, column, hit):
    peaks = [
        ("a", 20 / 28, 20 / 28),
        (digit, row / 28, column / 28),
        ("at", 0, 0),
        ("the", 0, 0),
        ("top", 0, 0),
        ("left", 0, 0),
    ]
    assert pointed(peaks, SCENE, BOXES) == ([] if hit is None else [hit])


def test_each_part_of_a_sentence_has_its_own_box():
    first = [("three", 5 / 28, 5 / 28), ("top", 0, 0), ("left", 0, 0)]
    second = [("seven", 5 / 28, 5 / 28), ("bottom", 0, 0), ("right", 0, 0)]
    third = [("one", 0, 0), ("top", 0, 0), ("right", 0, 0)]  # where nothing lies
    assert pointed([*first, ("and", 0, 0), *second, (",", 0, 0), *third], SCENE, BOXES) == [True, False, False]


def test_a_task_without_sentences_is_told_so():
    with pytest.raises(UserError, match="scene_words"):
        scored(references=[])
