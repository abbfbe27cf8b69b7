"""Boxes on maps, by hand."""

import torch

from sensorium.ops.boxes import around_highest, counts, highest


def test_a_pixel_is_covered_by_the_boxes_that_hold_its_middle():
    boxes = torch.tensor([[[0.0, 0, 2, 1], [1, 0, 3, 2]], [[0.6, 0.4, 2.4, 2], [0, 0, 3, 2]]])
    mask = torch.tensor([[True, True], [True, False]])
    assert counts(boxes, mask, 2, 3).tolist() == [[[1, 2, 1], [0, 1, 1]], [[0, 1, 0], [0, 1, 0]]]


def test_the_box_that_holds_the_highest_value():
    heat = torch.zeros(4, 4)
    heat[3, 0], heat[0, 2] = 1.0, 0.9
    assert highest(heat, [[2, 2, 4, 4], [0, 2, 2, 4], [2, 0, 4, 2]]) == 1
    assert highest(heat, [[2, 2, 4, 4], [2, 0, 4, 2]]) == 1
    thin = [[0.7, 3.2, 0.7, 3.4], [4.0, 4.0, 4.0, 4.0]]
    assert highest(heat, thin) in (0, 1), "a box that holds no middle counts by one pixel"


def test_the_box_around_the_highest_place_holds_what_hangs_together_with_it():
    heat = torch.zeros(5, 8)
    assert around_highest(heat, 0.5) is None
    heat[1, 2], heat[2, 3], heat[3, 3] = 0.6, 0.5, 0.9  # the first two touch by a corner
    heat[0, 6:] = 0.8  # as high, but elsewhere
    assert around_highest(heat, 0.5) == [2.0, 1.0, 4.0, 4.0]
    assert around_highest(heat, 0.55) == [3.0, 3.0, 4.0, 4.0]
    assert around_highest(heat, 0.95) is None
    assert around_highest(torch.ones(5, 8), 0.5) == [0.0, 0.0, 8.0, 5.0]
