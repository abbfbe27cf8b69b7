"""Diversity of pictures, worked out by hand."""

import pytest
import torch

from sensorium import UserError
from sensorium.builtin.metrics.diversity import Diversity, apart


def pictures(*values):
    return torch.tensor(values)[:, None, None, None].expand(-1, 3, 2, 2)


def test_how_far_pictures_of_a_group_are_apart():
    assert apart(pictures(0.0, 10.0, 0.2, 0.6, 11.0), [1, 2, 1, 1, 2]) == pytest.approx((0.2 + 0.4 + 1.0) / 3)
    assert apart(pictures(0.0, 10.0), [1, 2]) is None


def test_it_is_measured_against_real_pictures():
    rows = {"apart": torch.tensor([0.1, 0.3]), "real": pictures(0.0, 0.8), "group": torch.tensor([5, 5])}
    assert Diversity.Config().build()(rows) == {"diversity": pytest.approx(0.25)}


def test_what_cannot_be_compared_is_said():
    with pytest.raises(UserError, match="does not find its rows"):
        Diversity.Config().build()({"apart": torch.zeros(2)})


def test_it_is_left_out_where_all_real_pictures_are_alone():
    rows = {"apart": torch.zeros(2), "real": pictures(0.0, 0.8), "group": torch.tensor([5, 6])}
    assert Diversity.Config().build()(rows) == {}
