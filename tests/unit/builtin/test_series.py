"""Series: readings of several channels, from text or arrays."""

import io
import re

import numpy as np
import pytest
import torch

from sensorium import Geometry, MediaError, Padded
from sensorium.builtin.modalities.series import Series

READINGS = np.arange(8, dtype=np.float64).reshape(4, 2)


def series(**options):
    return Series.Config(**{"channels": 2, "length": 4, **options}).build()


def npy(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


SOURCES = {
    "text": b"0,1\n2,3\n4,5\n6,7\n",
    "text with names": b"\xef\xbb\xbfx (m/s2),y (m/s2)\r\n0,1\r\n2,3\r\n4,5\r\n6,7\r\n",
    "an array's file": npy(READINGS),
    "an array": READINGS,
    "a tensor": torch.tensor(READINGS),
}


@pytest.mark.parametrize("raw", SOURCES.values(), ids=SOURCES)
def test_every_source_of_one_series_gives_the_same(raw, tmp_path):
    assert series().decode(raw).tolist() == READINGS.T.tolist()
    if isinstance(raw, bytes):
        (tmp_path / "file").write_bytes(raw)
        assert series().decode(str(tmp_path / "file")).tolist() == READINGS.T.tolist()


def test_readings_are_scaled_by_channel_and_come_as_a_picture_of_one_row():
    modality = series(mean=[1, 2], std=[2, 1])
    value = modality.transform(modality.decode(READINGS), None)
    assert value.shape == modality.shape == (2, 1, 4)
    assert value[:, 0].tolist() == [[-0.5, 0.5, 1.5, 2.5], [-1, 1, 3, 5]]
    assert modality.decode(modality.encode(value).encode()).tolist() == READINGS.T.tolist()


def test_long_ones_give_their_middle_or_any_stretch_and_short_ones_rest_at_the_mean():
    modality, value = series(length=2), series(length=2).decode(READINGS)
    assert modality.transform(value, None)[0, 0].tolist() == [2, 4]
    drawn = {tuple(modality.transform(value, torch.Generator().manual_seed(s))[0, 0].tolist()) for s in range(30)}
    assert drawn == {(0, 2), (2, 4), (4, 6)}
    assert series(length=6, mean=[3]).transform(value, None)[0, 0].tolist() == [-3, -1, 1, 3, 0, 0]


def test_without_a_length_each_keeps_its_own():
    modality = series(length=None, mean=[1], std=[2])
    assert (modality.form, modality.shape) == ("series", (2, None))
    values = [modality.transform(modality.decode(READINGS[:count]), torch.Generator()) for count in (3, 1)]
    batch = modality.collate(values)
    assert batch.data.tolist() == [[[-0.5, 0.5, 1.5], [0, 1, 2]], [[-0.5, 0, 0], [0, 0, 0]]]
    assert batch.mask.tolist() == [[True] * 3, [True, False, False]]
    assert modality.encode(Padded(batch.data[1], batch.mask[1])) == "0,1\n"
    assert modality.encode(values[0]) == "0,1\n2,3\n4,5\n"


def test_places_move_with_the_picture_that_they_follow_and_come_back():
    modality = series(channels=4, length=None, follows="video", std=[2])
    mirrored = Geometry.identity((20, 10)).then(torch.tensor([[-1, 0, 10], [0, 0.5, 0]], dtype=torch.float64), (10, 10))
    moved = modality.follow(modality.decode(READINGS.reshape(2, 4)), mirrored)
    assert (moved * 2).T.tolist() == [[10, 0.5, 8, 1.5], [6, 2.5, 4, 3.5]], "x and y of two places in turn"
    assert modality.encode(modality.put_back(moved, mirrored)) == "0,1,2,3\n4,5,6,7\n"
    with pytest.raises(ValueError, match="even"):
        Series.Config(channels=3, follows="video")


HOSTILE = {
    "another number of channels": (b"1,2,3\n4,5,6\n", r"\(2, 3\)"),
    "ragged": (b"1,2\n3\n", "is not a readable series"),
    "words": (b"a,b\nc,d\n", "is not a readable series"),
    "nothing but names": (b"a,b\n", r"shape \(0,"),
    "not finite": (b"1,2\nnan,3\n", "finite"),
    "too long": (b"1,2\n" * 2000, "more than 1000 readings"),
    "an array that is too long": (npy(np.zeros((2000, 2))), "At most 2000 numbers"),
    "a long tensor": (torch.zeros(2000, 2), "2000 readings"),
    "objects": (np.array([[{}, 1]], object), "is not a series"),
    "a number": (3, "int is not a series"),
    "binary": (bytes(range(256)) * 4, "is not a readable series"),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize(("raw", "says"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_series_are_refused_with_a_sentence(raw, says):
    with pytest.raises(MediaError) as raised:
        series(max_readings=1000).decode(raw)
    assert re.search(says, f"{raised.value.wrong} {raised.value.expected}"), raised.value


def test_the_cost_is_bounded_by_what_is_read():
    assert series().cost(npy(np.zeros((500, 2)))) >= 8 * 1000
    assert series().cost(b"1,2\n" * 500) >= 8 * 1000
    assert series(max_readings=10).cost(b"1,2\n" * 500_000) <= 8 * 4 * 20
    assert series().cost(3) == 0


def test_options_that_do_not_fit_are_refused():
    for options, says in (({"length": 0}, "at least 1"), ({"std": [1, 2, 3]}, "std"), ({"std": [0]}, "above 0")):
        with pytest.raises(ValueError, match=says):
            Series.Config(**{"channels": 2, "length": 4, **options})
