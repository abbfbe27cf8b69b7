"""Sheets of pictures: what stands where."""

import io

import numpy as np
from PIL import Image

from sensorium.ops.plots import TITLE, Tile, cell, in_rows, sheet


def tile(colour, title=""):
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8), colour).save(buffer, format="png")
    return Tile(buffer.getvalue(), title)


def opened(png):
    with Image.open(io.BytesIO(png)) as picture:
        return np.asarray(picture.convert("RGB")).astype(int)


def test_pictures_stand_in_their_rows_and_gaps_stay_empty():
    pixels = opened(sheet([[tile("red"), tile("blue")], [None, tile("lime")]], (1.0, 1.0)))
    height, width, _ = pixels.shape
    assert (height, width) == (160, 160)
    seen = [
        [tuple(pixels[row, column]) for column in (width // 4, 3 * width // 4)]
        for row in (height // 4, 3 * height // 4)
    ]
    assert seen == [[(255, 0, 0), (0, 0, 255)], [(255, 255, 255), (0, 255, 0)]]


def test_a_title_is_written_as_it_is():
    plain, titled = (opened(sheet([[tile("red", title)]], (2.0, 2.0))) for title in ("", "a $\\frac{1}$ $x"))
    assert (plain != titled).any()  # a formula that cannot be read would raise


def test_the_last_row_may_be_shorter():
    tiles = [tile("red")] * 5
    assert [len(row) for row in in_rows(tiles, 2)] == [2, 2, 1]
    assert opened(sheet(in_rows(tiles, 2), (1.0, 1.0))).shape[:2] == (240, 160)


def test_a_cell_is_as_high_as_its_picture_and_a_title():
    wide = io.BytesIO()
    Image.new("RGB", (60, 20)).save(wide, "PNG")
    assert cell(wide.getvalue(), 3.0) == (3.0, 1.0 + TITLE)
