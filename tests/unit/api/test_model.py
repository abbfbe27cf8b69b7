"""A model from Python: the answers of `predict`, embeddings in the order of what was given, mistakes told."""

import numpy as np
import pytest
from PIL import Image as Pillow

import sensorium
from sensorium import UserError
from sensorium.api import model as of_model
from sensorium.api.model import Answer
from sensorium.inference.predictor import Predictor
from training import train

OPTIONS = ("training.epochs=1", "dataset.limit={train: 256, test: 64}", "evaluation.contributions=false")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return train("clip", tmp_path_factory.mktemp("clip"), *OPTIONS).outcome.model


@pytest.fixture(scope="module")
def model(folder):
    return sensorium.load(folder)


@pytest.fixture
def picture(tmp_path):
    place = tmp_path / "picture.png"
    Pillow.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8), dtype=np.uint8)).save(place)
    return place


def test_it_answers_as_the_command_does(model, folder, picture):
    right = Predictor.load(folder).ask([f"image={picture}"])
    assert model.predict(image=picture) == right == model.predict(image=picture.read_bytes())
    assert "label" in repr(model.predict(image=picture))
    assert "image (image)" in repr(model)


def test_embeddings_are_in_the_order_of_what_was_given(model, monkeypatch):
    monkeypatch.setattr(of_model, "PART", 2)
    words = ["the digit one", "a four", "seven", "written eight", "a nine"]
    found = model.embed(text=words)
    assert found.shape == (5, 64)
    assert found.dtype == np.float32
    assert np.allclose(np.linalg.norm(found, axis=1), 1, atol=1e-6)
    for row, word in zip(found, words, strict=True):
        assert row.tolist() == np.float32(model.predict(text=word)["text_embedding"]).tolist()


def test_an_embedding_may_be_moved(model, picture):
    still, moved = model.embed(image=[picture]), model.embed(image=[picture], plus=["a handwritten three"])
    assert not np.allclose(still, moved)


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({}, "No input was given"),
        ({"label": ["one"]}, "'label' has no embedding"),
        ({"plus": ["one"]}, "'plus' has no embedding"),
        ({"text": "one"}, r"cannot be embedded: text is str\..*embed\(text="),
        ({"text": []}, "text is a list of length 0"),
        ({"image": [b""], "plus": ["a", "b"]}, "image is a list of length 1; plus is a list of length 2"),
    ],
)
def test_what_cannot_be_embedded_is_told(model, given, wrong):
    with pytest.raises(UserError, match=wrong):
        model.embed(**given)


def test_what_is_no_model_split_or_folder_is_told(model, folder, tmp_path):
    with pytest.raises(UserError, match=r"The model is 5\. A name or a path"):
        sensorium.load(5)
    with pytest.raises(UserError, match="The model is clip"):
        sensorium.evaluate(model)
    with pytest.raises(UserError, match=r"The split is \{'training.steps': 1\}"):
        sensorium.evaluate(folder, {"training.steps": 1})
    with pytest.raises(UserError, match=r"plugins is 'mine'\. A list of modules"):
        sensorium.load(folder, plugins="mine")
    with pytest.raises(UserError, match="The folder is None"):
        model.export(None)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be made\. .*file is not a folder"):
        model.export(tmp_path / "file" / "new" / "er")


def test_a_split_is_measured_as_the_command_measures_it(folder):
    found = sensorium.evaluate(folder, "train", {"dataset.limit": {"train": 40}})
    assert found.split == "train"
    assert 0 <= found.metrics["zero_shot_accuracy"] <= 1
    assert found.media() == found.plots != {}
    assert "zero_shot_accuracy" in repr(found)


def test_media_of_an_answer_are_shown():
    answer = Answer(image=b"\x89PNG...", sound=b"RIFF....", film=b"\0\0\0\x18ftypisom", other=b"?", text="<b>")
    html = answer._repr_html_()
    assert [html.count(element) for element in ("<img", "<audio", "<video", "<b>")] == [1, 1, 1, 0]
    assert "image/png, 7 bytes" in repr(answer)
