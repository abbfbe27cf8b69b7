"""Depth and temperature: what is read, in which unit, and where it comes to lie in the range."""

import io
import re

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from sensorium import Geometry, MediaError
from sensorium.builtin.modalities.measured import Depth, Thermal
from sensorium.plugins import Plugins


def png(array):
    buffer = io.BytesIO()
    Pillow.fromarray(array).save(buffer, "PNG")
    return buffer.getvalue()


def npy(array, version=None):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version, allow_pickle=True)
    return buffer.getvalue()


def depth(size=4, **options):
    return Depth.Config(size=size, **options).build()


METRES = np.array([[1.0, 2.0], [4.0, 0.0]])
SCALES = {
    "disparity": [1.0, (1 / 2 - 1 / 4) / (1 - 1 / 4), 0.0, 0.0],
    "log": [1.0, 0.5, 0.0, 0.0],
    "linear": [1.0, 2 / 3, 0.0, 0.0],
}
"""Where distances of 1, 2 and 4 m, and one that was not measured, lie between 4 m and 1 m."""


@pytest.mark.parametrize(("scale", "shares"), SCALES.items())
def test_what_is_near_is_one_and_what_is_far_or_not_measured_zero(scale, shares):
    assert depth(scale=scale, least=1, most=4).decode(METRES).flatten().tolist() == pytest.approx(shares, abs=1e-6)
    beyond = np.array([[0.1, 40.0], [np.nan, np.inf]])
    assert depth(scale=scale, least=1, most=4).decode(beyond).flatten().tolist() == [1, 0, 0, 0]


SOURCES = {
    "floats are metres": METRES,
    "whole numbers count millimetres": (1000 * METRES).astype(np.uint16),
    "a PNG counts millimetres": png((1000 * METRES).astype(np.uint16)),
    "a file of floats": npy(METRES),
    "big-endian, by columns": npy(np.asfortranarray(METRES.astype(">f4"))),
    "of version 2.0": npy((1000 * METRES).astype(np.int32), (2, 0)),
    "a tensor": torch.tensor(METRES),
    "a Pillow image": Pillow.fromarray((1000 * METRES).astype(np.uint16)),
}


@pytest.mark.parametrize("raw", SOURCES.values(), ids=SOURCES)
def test_every_source_of_one_depth_map_gives_the_same(raw, tmp_path):
    modality = depth(least=1, most=4)
    assert modality.decode(raw).flatten().tolist() == pytest.approx(SCALES["disparity"], abs=1e-6)
    if isinstance(raw, bytes):
        (tmp_path / "map").write_bytes(raw)
        assert torch.equal(modality.decode(tmp_path / "map"), modality.decode(raw))


def test_the_unit_of_sun_rgbd_is_an_eighth_of_a_millimetre():
    # Its PNG hold each number of millimetres turned left by three bits.
    turned = np.array([[(millimetres << 3) & 0xFFFF for millimetres in (1000, 4000)]], np.uint16)
    read = depth((1, 2), unit=0.000125, scale="linear", least=1, most=4).decode(png(turned))
    assert read.flatten().tolist() == pytest.approx([1, 0], abs=1e-6)


def test_grey_of_a_thermal_camera_is_its_range_and_sixteen_bits_are_centikelvin():
    thermal = Thermal.Config(size=2, least=20, most=40).build()
    grey = np.array([[0, 51], [102, 255]], np.uint8)
    assert thermal.decode(png(grey)).flatten().tolist() == pytest.approx([0, 0.2, 0.4, 1], abs=1e-6)
    celsius = np.array([[20, 25], [30, 99]])
    for raw in (celsius.astype(np.float64), png(((celsius + 273.15) * 100).round().astype(np.uint16))):
        assert thermal.decode(raw).flatten().tolist() == pytest.approx([0, 0.25, 0.5, 1], abs=1e-5)


@pytest.mark.parametrize("kind", [Depth, Thermal])
@pytest.mark.parametrize("scale", SCALES)
def test_what_is_answered_is_read_again(kind, scale):
    options = {"scale": scale} if kind is Depth else {}
    modality = kind.Config(size=8, **options).build()
    value = modality.transform(modality.decode(modality.example(torch.Generator().manual_seed(0))), None)
    again = modality.transform(modality.decode(modality.encode(value)), None)
    torch.testing.assert_close(again, value, atol=5e-3, rtol=0)


def test_it_is_mirrored_with_its_picture():
    modality = depth(2, least=1, most=4, follows="image")
    mirrored = Geometry.identity((2, 2)).then(torch.tensor([[-1, 0, 2], [0, 1, 0]], dtype=torch.float64), (2, 2))
    value = modality.decode(METRES)
    assert torch.allclose(modality.follow(value, mirrored), 2 * value.flip(2) - 1, atol=1e-6)


def header(shape, kind="'<f4'"):
    text = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}"
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


HOSTILE = {
    "claims more than there is": (header("(900, 900)"), "breaks off, with 0 of 3240000 bytes"),
    "claims too much": (header("(1000000, 1000000)"), "At most 1000000 numbers"),
    "a negative side": (header("(-4, 4)") + bytes(64), "shape"),
    "holds objects": (npy(np.array([[{}]], object)), "holds object"),
    "holds words": (npy(np.array([["a"]])), "holds <U1"),
    "has three axes": (npy(np.zeros((4, 4, 3))), r"\(4, 4, 3\)"),
    "is empty": (npy(np.zeros((0, 4))), r"\(1, 0, 4\)"),
    "a header that is code": (header("(__import__('os').getpid(),)"), "is not a readable array"),
    "a strange version": (b"\x93NUMPY\x07\x00" + bytes(80), "is not a readable array"),
    "cut in the header": (header("(4, 4)")[:30], "is not a readable array"),
    "no picture": (b"junk" * 20, "is not a readable picture"),
    "a large picture": (png(np.zeros((1001, 1000), np.uint16)), "1000 x 1001 pixels"),
    "a list": ([[1.0]], "list is not a picture"),
}


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
@pytest.mark.parametrize("given", ["picture", "bytes"])
def test_a_drawing_of_distances_in_colour_is_refused(mode, given):
    picture = Pillow.fromarray(np.full((4, 4, 3), (200, 40, 0), np.uint8)).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    with pytest.raises(MediaError, match=rf"in colour \({mode}\)"):
        depth().decode(picture if given == "picture" else buffer.getvalue())


@pytest.mark.parametrize(("raw", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_maps_are_refused_with_a_sentence(raw, says):
    with pytest.raises(MediaError) as raised:
        depth(max_pixels=1_000_000).decode(raw)
    assert re.search(says, f"{raised.value.wrong} {raised.value.expected}"), raised.value


def test_the_cost_is_told_by_the_header():
    assert depth().cost(png(np.zeros((100, 200), np.uint16))) >= 4 * 100 * 200
    assert depth().cost(npy(np.zeros((100, 200)))) >= 4 * 100 * 200
    assert depth(max_pixels=10**6).cost(header("(1000000, 1000000)")) <= 12 * 10**6
    assert depth().cost(b"junk") == 0


@pytest.mark.parametrize(
    ("options", "says"),
    [({"least": 0.0}, "above 0"), ({"least": 5, "most": 4}, "least"), ({"unit": 0}, "unit"), ({"size": 0}, "size")],
)
def test_options_that_do_not_fit_are_refused(options, says):
    with pytest.raises(ValueError, match=says):
        Depth.Config(**options)


def test_they_come_along():
    assert {"depth", "thermal", "series"} <= set(Plugins().names("modality"))
