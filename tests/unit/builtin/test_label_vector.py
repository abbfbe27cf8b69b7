"""The modalities of classes and of plain numbers."""

import json
import re

import numpy as np
import pytest
import torch

from sensorium import MediaError, UserError
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.vector import Vector


def fitted(values):
    label = Label.Config().build()
    label.fit(values)
    return label


def test_names_are_sorted_numbers_by_value():
    assert fitted(["dog", "cat", "dog", "bird"]).names == ["bird", "cat", "dog"]
    assert fitted([10, 9, np.int64(2), "x"]).names == ["2", "9", "10", "x"]


def test_indices_and_batch():
    label = fitted(["dog", "cat"])
    batch = label.collate([label.transform(label.decode(name), None) for name in ("dog", "cat", "dog")])
    assert batch.tolist() == [1, 0, 1]
    assert batch.dtype == torch.int64
    assert label.vocabulary == 2
    assert label.shape == ()


def test_encode():
    label = fitted(["a", "b", "c"])
    assert label.encode(torch.tensor(2)) == "c"
    chances = label.encode(torch.tensor([0.25, 0.5, 0.25]))
    assert list(chances.items()) == [("b", 0.5), ("a", 0.25), ("c", 0.25)]


def test_unseen_names_are_refused_with_the_nearest():
    with pytest.raises(MediaError, match="Did you mean 'tiger'"):
        fitted(["tiger", "owl"]).transform("tigre", None)
    for value in (1.5, None, True, ["a"]):
        with pytest.raises(MediaError, match=re.escape(f"{value!r} is not a label.")):
            fitted(["a"]).decode(value)


def test_state_is_json_and_comes_back():
    label = Label.Config().build()
    for use in (lambda: label.transform("a", None), lambda: label.encode(torch.tensor(0)), lambda: label.fit([])):
        with pytest.raises(UserError, match=r"fit|empty"):
            use()
    label.restore(json.loads(json.dumps(fitted(["b", "a"]).state())))
    assert label.names == ["a", "b"]
    assert label.transform("b", None) == 1
    assert label.vocabulary == 2


def test_vectors_pass_as_they_are():
    vector = Vector.Config(size=3).build()
    for raw in ([1, 2, 3], np.array([1.0, 2.0, 3.0]), torch.tensor([1, 2, 3])):
        value = vector.transform(vector.decode(raw), None)
        assert value.dtype == torch.float32
        assert vector.encode(value) == [1.0, 2.0, 3.0]
    assert vector.collate([value, value]).shape == (2, 3)
    assert vector.shape == (3,)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        ([1, 2], r"\(2,\)"),
        ([[1, 2, 3]], r"\(1, 3\)"),
        ([1, float("nan"), 3], "nan at place 1"),
        ("abc", "not a vector"),
    ],
)
def test_what_is_no_vector_is_refused(raw, words):
    with pytest.raises(MediaError, match=words):
        Vector.Config(size=3).build().decode(raw)


def test_a_vector_has_a_size():
    with pytest.raises(ValueError, match="size"):
        Vector.Config(size=0)


def test_the_most_frequent_names_are_kept_and_others_have_no_class():
    label = Label.Config(most=2, unknown="ignore").build()
    label.fit(["no", "yes", "no", "blue", "yes", "no"])
    assert label.names == ["no", "yes"]
    indices = label.collate([label.transform(name, None) for name in ("yes", "blue", "green")])
    assert indices.tolist() == [1, -100, -100]
    logits = torch.zeros(3, 2, requires_grad=True)
    losses = torch.nn.functional.cross_entropy(logits, indices, reduction="none")
    assert losses.tolist() == pytest.approx([0.6931472, 0, 0])


def test_of_names_as_frequent_the_first_by_letter_are_kept():
    label = Label.Config(most=2).build()
    label.fit(["b", "c", "a"])
    assert label.names == ["a", "b"]
    with pytest.raises(MediaError):
        label.transform("c", None)


def test_most_is_at_least_one():
    with pytest.raises(ValueError, match="at least 1"):
        Label.Config(most=0)
