"""Media of an answer as files whose names say what they are."""

import io

import numpy as np
import pytest
import soundfile
from PIL import Image

from sensorium.builtin.modalities import film
from sensorium.cli.predict import _medium


def picture():
    buffer = io.BytesIO()
    Image.new("L", (4, 4)).save(buffer, "PNG")
    return buffer.getvalue()


def sound():
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(80), 8000, format="WAV")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("made", "name"),
    [(picture, "x.png"), (sound, "x.wav"), (lambda: film.write(np.zeros((2, 8, 8, 3), np.uint8), 25), "x.mp4")],
)
def test_a_medium_is_called_after_what_it_is(made, name, tmp_path):
    place = _medium("x", made(), str(tmp_path))
    assert place == str(tmp_path / name)
    assert (tmp_path / name).read_bytes() == made()


def test_what_is_not_a_medium_is_shown_as_it_is():
    assert _medium("x", 0.5, None) == 0.5
