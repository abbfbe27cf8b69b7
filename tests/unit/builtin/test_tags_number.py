"""Tags and numbers as modalities, and the loss and the figure of tags.

Shapes: N samples, C tags.
"""

import pytest
import torch

from sensorium import MediaError, UserError
from sensorium.builtin.losses.binary_cross_entropy import BinaryCrossEntropy
from sensorium.builtin.metrics.classification import AveragePrecision
from sensorium.builtin.modalities.number import Number
from sensorium.builtin.modalities.tags import Tags


@pytest.fixture
def tags():
    modality = Tags.Config().build()
    modality.fit([["red", "small"], ["blue"], []])
    return modality


def test_tags_are_ones_in_their_columns(tags):
    assert tags.names == ["blue", "red", "small"]
    rows = tags.collate([tags.transform(tags.decode(raw), None) for raw in (["small", "red"], [], ["blue"])])
    assert rows.tolist() == [[0, 1, 1], [0, 0, 0], [1, 0, 0]]


def test_a_tag_that_the_training_never_had_is_left_out(tags):
    assert tags.transform(["green", "red"], None).tolist() == [0, 1, 0]


def test_chances_are_told_from_the_highest(tags):
    assert list(tags.encode(torch.tensor([0.5, 0.9, 0.001])).items()) == [("red", pytest.approx(0.9)), ("blue", 0.5)]


def test_tags_keep_what_they_learnt(tags):
    other = Tags.Config().build()
    other.restore(tags.state())
    assert other.names == tags.names
    assert other.shape == (3,)


@pytest.mark.parametrize("raw", ["red", [1], None])
def test_what_is_no_list_of_tags_is_refused(tags, raw):
    with pytest.raises(MediaError, match="list of strings"):
        tags.decode(raw)


def test_tags_that_know_no_names_say_so():
    with pytest.raises(UserError, match="knows no names"):
        Tags.Config().build().transform(["red"], None)


@pytest.mark.parametrize(("raw", "value"), [(3, 3.0), ("3", 3.0), (0, 0.0)])
def test_a_number_is_read(raw, value):
    assert Number.Config(least=0, most=9, whole=True).build().decode(raw) == value


@pytest.mark.parametrize("raw", [-1, 10, 2.5, "x", None, True, float("nan"), float("inf"), [1]])
def test_what_does_not_fit_is_refused(raw):
    with pytest.raises(MediaError, match="a whole number, 0 at least, 9 at most"):
        Number.Config(least=0, most=9, whole=True).build().decode(raw)


def test_the_schema_of_a_number_tells_its_bounds():
    assert Number.Config(least=0, whole=True).build().json_schema() == {"type": "integer", "minimum": 0}


def test_binary_cross_entropy_by_hand():
    loss = BinaryCrossEntropy.Config().build()
    found = loss(torch.tensor([[0.0, 2.0], [-1.0, 0.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    # ln 2 = 0.6931, ln(1 + e^-2) = 0.1269, ln(1 + e^-1) = 0.3133
    assert found.tolist() == pytest.approx([(0.6931 + 0.1269) / 2, (0.3133 + 0.6931) / 2], abs=1e-4)


def precision(scores, truth):
    rows = {"scores.tags": torch.tensor(scores), "truth.tags": torch.tensor(truth)}
    return AveragePrecision.Config().build()(rows)["tags_average_precision"]


def test_average_precision_by_hand():
    # The right ones come first and third of four: (1/1 + 2/3) / 2.
    assert precision([[0.9], [0.8], [0.7], [0.1]], [[1.0], [0.0], [1.0], [0.0]]) == pytest.approx(5 / 6)


def test_average_precision_is_the_mean_over_tags_that_occur():
    scores = [[0.9, 0.1, 0.5], [0.8, 0.9, 0.5]]
    assert precision(scores, [[1.0, 1.0, 0.0], [0.0, 0.0, 0.0]]) == pytest.approx((1 + 0.5) / 2)


def test_ties_and_what_is_no_number_count_against_the_model():
    assert precision([[0.5], [0.5], [0.5], [0.5]], [[1.0], [0.0], [0.0], [0.0]]) == pytest.approx(0.25)
    assert precision([[float("nan")], [0.1]], [[1.0], [0.0]]) == pytest.approx(0.5)


def test_an_example_of_tags_names_one_at_least(tags):
    drawn = [tags.example(torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert all(drawn)
    assert len({tuple(each) for each in drawn}) > 4
