"""What a trained model answers: the same, however it is asked."""

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from sensorium.builtin.modalities.image import Image as Picture
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.text import Text
from sensorium.builtin.modalities.vector import Vector
from sensorium.errors import MediaError, UserError
from sensorium.inference.predictor import Predictor, evaluate, written


@pytest.fixture(scope="module")
def predictor(trained):
    return Predictor.load(trained.result["model"])


@pytest.fixture(scope="module")
def digit():
    """One of the held-out digits, 8 x 8 from 0 to 255."""
    return np.rint(load_digits().images[1500] * (255 / 16)).astype(np.uint8)


@pytest.fixture
def png(tmp_path, digit):
    Image.fromarray(digit).save(tmp_path / "digit.png")
    return str(tmp_path / "digit.png")


def test_an_answer_is_typed_by_the_task(predictor, png):
    answer = predictor.ask([f"image={png}"])
    assert list(answer) == ["image_embedding", "label", "tags"]
    embedding = answer["image_embedding"]
    assert len(embedding) == 8
    assert sum(x * x for x in embedding) == pytest.approx(1)
    assert set(answer["label"]) == {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    assert sum(answer["label"].values()) == pytest.approx(1)
    assert list(answer["label"].values()) == sorted(answer["label"].values(), reverse=True)
    assert set(answer["tags"]) == {"sloped", "round", "angular"}


def test_path_bytes_and_array_get_the_same_answer(predictor, png, digit):
    buffer = io.BytesIO()
    Image.fromarray(digit).save(buffer, "PNG")
    answers = predictor([{"image": png}, {"image": digit}, {"image": buffer.getvalue()}])
    assert answers[0] == answers[1] == answers[2]
    assert predictor.ask([f"image={png}"]) == predictor([{"image": digit}])[0]


def test_both_fields_are_embedded(predictor, png):
    answer = predictor.ask([f"image={png}", "text=a handwritten three"])
    assert {"image_embedding", "text_embedding"} < set(answer)
    alone = predictor.ask(["text=a handwritten three"])
    assert list(alone) == ["text_embedding"]
    assert alone["text_embedding"] == pytest.approx(answer["text_embedding"], abs=1e-6)


@pytest.mark.parametrize(
    ("modality", "text", "value"),
    [
        (Tags(Tags.Config()), '["red", "blue"]', ["red", "blue"]),
        (Vector(Vector.Config(size=2)), "[1, 2.5]", [1, 2.5]),
        (Text(Text.Config()), '["red"]', '["red"]'),
        (Picture(Picture.Config(size=8)), "[1].png", "[1].png"),
        (None, "[1]", "[1]"),
    ],
)
def test_a_list_is_written_as_json_where_the_modality_takes_one(modality, text, value):
    assert written("x", text, modality) == value


@pytest.mark.parametrize("text", ["red", "[red]", "[" * 100_000])
def test_a_list_that_is_not_json_is_refused(text):
    with pytest.raises(UserError, match=r"Input 'plus' is .* A list was expected"):
        written("plus", text, Tags(Tags.Config()))


def test_a_value_may_hold_an_equals_sign(predictor):
    assert predictor.ask(["text=one=1"])["text_embedding"]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        (["picture=x.png"], "There is no input 'picture'. Known: image, minus, plus, text."),
        (["imge=x.png"], "Did you mean 'image'?"),
        (["x.png"], "'x.png' is not an input. Inputs have the form field=value or field=path."),
        ([], "Missing: an input. Inputs are image, text, plus, minus. Give field=value."),
        (["plus=three"], "There is nothing to move by words."),
    ],
)
def test_a_question_that_makes_no_sense_is_refused(predictor, fields, text):
    with pytest.raises(UserError) as caught:
        predictor.ask(fields)
    assert text in str(caught.value)


def test_an_input_that_cannot_be_read_is_named(predictor, tmp_path):
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(MediaError, match=r"^Input 'image': .*torn\.png is not a readable picture"):
        predictor.ask([f"image={tmp_path}/torn.png"])
    with pytest.raises(MediaError, match=r"^Input 'image': nowhere\.png cannot be opened"):
        predictor.ask(["image=nowhere.png"])
    with pytest.raises(MediaError, match=r"^Input 'image': an empty path cannot be opened \("):
        predictor.ask(["image="])
    with pytest.raises(MediaError, match=r"^Input 'image': the file given is empty \(0 bytes\)"):
        predictor([{"image": b""}])


def test_inputs_that_are_required_are_asked_for(tmp_path, monkeypatch):
    from sensorium.assembly.build import assemble
    from sensorium.assembly.loading import load
    from sensorium.plugins import Plugins
    from sensorium.training import runs
    from sensorium.training.execution import execute

    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("lines", ["training.epochs=0"], Plugins(["every_hook"])))
    outcome = execute(assembly, runs.create(assembly, {}))
    predictor = Predictor.load(outcome.model)
    with pytest.raises(UserError, match=r"Missing: z\. Inputs are x, z"):
        predictor([{"x": [1.0]}])
    weight, bias = (tensor.item() for tensor in predictor.model.task.decoder.map.parameters())
    (answer,) = predictor([{"x": [3.0], "z": [1.0]}])
    assert answer["y"] == pytest.approx([weight * (2 * 3.0 + 1.0) + bias])  # x is doubled, then added to z


def test_the_final_figures_come_out_again(trained, monkeypatch):
    trained.at(monkeypatch)
    for folder in (trained.result["model"], trained.result["checkpoint"]):
        evaluation = evaluate(folder)
        assert evaluation.split == "test"
        assert dict(evaluation.metrics) == trained.result["metrics"]
        assert list(evaluation.examples) == trained.result["examples"]


def test_another_split_or_fewer_samples_have_other_figures(trained, monkeypatch):
    trained.at(monkeypatch)
    train = evaluate(trained.result["model"], "train")
    assert train.split == "train"
    assert train.metrics.keys() == trained.result["metrics"].keys()
    assert dict(train.metrics) != trained.result["metrics"]
    few = evaluate(trained.result["model"], "test", ["dataset.limit.test=10"])
    assert few.metrics["image_to_text_r10"] > trained.result["metrics"]["image_to_text_r10"]


def test_other_data_that_cannot_be_used_are_named_with_their_line(trained, monkeypatch, png):
    trained.at(monkeypatch)
    Path("broken.png").write_bytes(Path(png).read_bytes()[:60])
    Path("mine.csv").write_text(f"image,text,label\n{png},seven,seven\nbroken.png,three,three\n")
    fields = "{image: image, text: text, label: label}"
    with pytest.raises(MediaError, match=r"Split 'test', mine\.csv:3, sample 1, field 'image': .*broken\.png"):
        evaluate(trained.result["model"], "test", [f"dataset={{name: manifest, test: mine.csv, fields: {fields}}}"])


def test_nothing_is_trained_by_asking(predictor, png):
    before = {name: tensor.clone() for name, tensor in predictor.model.task.state_dict().items()}
    predictor.ask([f"image={png}"])
    assert all(torch.equal(tensor, before[name]) for name, tensor in predictor.model.task.state_dict().items())
    assert not predictor.model.task.training
