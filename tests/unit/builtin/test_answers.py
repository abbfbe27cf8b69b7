"""Agreement of answers with people's, as the official evaluation of VQA has it, by hand."""

import pytest

from sensorium import UserError
from sensorium.builtin.metrics.answers import Answers, agreement, normalised


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("The dog.", "dog"),
        ("two", "2"),
        ("none", "0"),
        ("ten dogs", "10 dogs"),
        ("yes, it is", "yes it is"),
        ("red/white", "red white"),
        ("red / white", "red white"),
        ("1,000", "1000"),
        ("3.5", "3.5"),
        ("dont know", "don't know"),
        ("couldnt've", "couldn't've"),
        ("couldn'tve", "couldn't've"),
        ("couldntve", "couldntve"),
        ("isnt", "isn't"),
        ("lets go", "lets go"),
        ("somebody'd", "somebodyd"),
        ("ow's'at", "'ow's'at"),
        ("y'alld've", "y'all'd've"),
        ("an a the", ""),
        (" on\tthe\ntable ", "on table"),
    ],
)
def test_answers_are_compared_without_what_does_not_matter(answer, expected):
    assert normalised(answer) == expected


@pytest.mark.parametrize(
    ("same", "expected"),
    # One who agrees leaves n - 1 others for himself and n for the 10 - n who do not.
    [(0, 0.0), (1, 9 / 10 / 3), (2, (2 * 1 / 3 + 8 * 2 / 3) / 10), (3, (3 * 2 / 3 + 7) / 10), (4, 1.0), (9, 1.0)],
)
def test_agreement_is_the_mean_over_those_who_leave_one_out(same, expected):
    assert agreement("two", ["2"] * same + ["blue"] * (10 - same)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("said", "answers", "expected"),
    [
        ("two", ["two"] * 10, 1.0),
        (" two\n", ["two "] * 9 + ["two"], 1.0),
        ("2", ["two"] * 10, 0.0),
        ("Two", ["two"] * 10, 0.0),
        ("t-shirt", ["t shirt"] * 10, 0.0),
        ("2", ["two"] * 9 + ["Two"], 1.0),
        ("t-shirt", ["t shirt"] * 9 + ["shirt"], 1.0),
    ],
)
def test_answers_are_taken_as_they_are_where_all_people_say_the_same(said, answers, expected):
    assert agreement(said, answers) == expected


def test_a_single_answer_is_right_or_wrong():
    assert agreement("The blue", ["blue"]) == 1
    assert agreement("red", ["blue"]) == 0


def test_accuracy_by_type():
    rows = {
        "said.answer": ["yes", "no", "red"],
        "said.image_blind": ["no", "no", "blue"],
        "answers": [["yes"], ["yes"], ["red"]],
        "type": ["yes/no", "yes/no", "other"],
    }
    assert Answers.Config().build()(rows) == pytest.approx(
        {
            "answer_accuracy": 2 / 3,
            "answer_accuracy_yes/no": 1 / 2,
            "answer_accuracy_other": 1.0,
            "image_blind_accuracy": 0.0,
            "image_blind_accuracy_yes/no": 0.0,
            "image_blind_accuracy_other": 0.0,
        }
    )


def test_without_types_there_is_one_figure():
    assert Answers.Config().build()({"said.answer": ["a b"], "answers": [["b"]]}) == {"answer_accuracy": 1.0}


def test_a_task_without_answers_is_told_so():
    with pytest.raises(UserError, match="answers"):
        Answers.Config().build()({"logits.a": []})
