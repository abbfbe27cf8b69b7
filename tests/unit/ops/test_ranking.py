"""The area under the curve, worked out by hand."""

import pytest
import torch

from sensorium.ops.ranking import auc


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
