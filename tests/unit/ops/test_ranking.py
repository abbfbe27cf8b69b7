"""The area under the curve and the correlation of ranks, worked out by hand."""

import pytest
import torch

from sensorium.ops.ranking import auc, spearman


@pytest.mark.parametrize(
    ("right", "wrong", "area"),
    [
        ([3.0, 2.0], [1.0, 0.0], 1.0),
        ([1.0, 0.0], [3.0, 2.0], 0.0),
        ([3.0, 1.0], [2.0, 0.0], 0.75),
        ([0.0] * 4, [0.0] * 3, 0.5),
        ([1.0, 1.0], [1.0, 0.0], 0.75),
    ],
)
def test_the_area_under_the_curve(right, wrong, area):
    assert auc(torch.tensor(right), torch.tensor(wrong)) == area


@pytest.mark.parametrize(
    ("one", "other", "correlation"),
    [
        ([1.0, 2.0, 3.0], [10.0, 20.0, 1000.0], 1.0),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], -1.0),
        ([1.0, 2.0, 3.0, 4.0], [2.0, 1.0, 4.0, 3.0], 0.6),
        ([1.0, 1.0, 2.0], [1.0, 2.0, 3.0], 0.75**0.5),  # places 1.5, 1.5, 3
        ([5.0, 5.0], [1.0, 2.0], 0.0),
    ],
)
def test_the_correlation_of_ranks(one, other, correlation):
    assert spearman(torch.tensor(one), torch.tensor(other)) == pytest.approx(correlation)
