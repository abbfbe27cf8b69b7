"""What the page makes of answers, and what it says where Gradio is not installed."""

import base64
import io

import echo
import numpy as np
import pytest
from PIL import Image as Pillow
from starlette.testclient import TestClient

from sensorium.serving import page
from sensorium.serving.application import application
from sensorium.serving.description import Output
from sensorium.serving.form import shown

NUMBERS = {"type": "array", "items": {"type": "number"}}


def picture(tag):
    return np.asarray(Pillow.open(io.BytesIO(base64.b64decode(tag.partition("base64,")[2].partition('"')[0]))))


def test_rows_of_numbers_are_a_heat_map():
    grid = Output("application/json", {"type": "array", "items": NUMBERS})
    pixels = picture(shown([[0.0, 1.0, 2.0], [2.0, 0.0, 2.0]], grid))
    assert pixels.shape == (2, 3, 4)
    dark, yellow = [68, 1, 84, 255], [253, 231, 36, 255]
    assert pixels[0, 0].tolist() == pixels[1, 1].tolist() == dark
    assert pixels[0, 2].tolist() == pixels[1, 0].tolist() == yellow
    assert (picture(shown([[7.0, 7.0]], grid)) == dark).all()


@pytest.mark.parametrize(
    ("kind", "tag"), [("image/png", "<img "), ("audio/wav", "<audio "), ("video/mp4", "<video "), ("model/gltf", "<a ")]
)
def test_media_are_shown_played_or_offered(kind, tag):
    answer = shown("AAEC", Output(kind, {"type": "string"}))
    assert answer.startswith(tag)
    assert f'"data:{kind};base64,AAEC"' in answer


def test_words_chances_and_json():
    chances = {"oneOf": [{"type": "string"}, {"type": "object", "additionalProperties": {"type": "number"}}]}
    assert shown({"a": 0.75, "b": 0.25}, Output("application/json", chances)) == {"a": 0.75, "b": 0.25}
    assert shown("<b>", Output("text/plain", {"type": "string"})) == "<b>"
    assert shown([0.1, 1e-30], Output("application/json", NUMBERS)) == "[0.1, 1e-30]"


def test_without_gradio_the_page_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(page, "find_spec", lambda name: None)
    with TestClient(application({"echo": echo.local()})) as client:
        for path in ("/", "/models/echo/page/"):
            answer = client.get(path)
            assert answer.status_code == 404
            assert "pip install 'sensorium[page]'" in answer.json()["error"]["hint"]
        assert client.get("/models").status_code == 200


def test_a_page_of_no_model_is_not_there():
    with TestClient(application({"echo": echo.local()})) as client:
        answer = client.get("/models/ecko/page/")
        assert answer.status_code == 404
        assert "Did you mean 'echo'" in answer.json()["error"]["hint"]
