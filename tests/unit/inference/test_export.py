"""Exported models answer as `predict` does, by what `model.json` says alone: here with Pillow, NumPy and tokenizers."""

import io
import json
import sys
import unicodedata

import numpy as np
import onnxruntime
import pytest
import soundfile
import torch
from PIL import Image as Pillow
from tokenizers import Tokenizer

from sensorium import Exported as Part
from sensorium import SensoriumError, UserError
from sensorium.api.model import Model as Loaded
from sensorium.assembly.build import Model, assemble
from sensorium.assembly.loading import load
from sensorium.builtin.modalities.vector import Vector
from sensorium.inference.export import check, export
from sensorium.inference.predictor import Predictor
from sensorium.inference.traced import leaves, trace

CLOSE = {"rtol": 0, "atol": 1e-4}


def predictor(task, *overrides):
    """Returns a model with its first weights."""
    assembly = assemble(load(task, overrides))
    assembly.task.requires_grad_(False).eval()
    return Predictor(Model(assembly.loaded, assembly.modalities, assembly.task, None))


@pytest.fixture(scope="module")
def clip():
    return predictor("clip", "model.tags=[round, angular]")


@pytest.fixture(scope="module", params=["onnx", "torch"])
def of_clip(request, clip, tmp_path_factory):
    return Exported(clip, tmp_path_factory.mktemp("clip") / request.param, request.param)


class Exported:
    """What somebody does with an exported folder who has no Sensorium."""

    def __init__(self, predictor, folder, form="onnx"):
        export(predictor.model, str(folder), form)
        self.folder, self.about = folder, json.loads((folder / "model.json").read_text())

    def __call__(self, part, samples):
        """Returns output -> (B, ...), raw values of the tensors."""
        about = self.about["parts"][part]
        given = {}
        for field, what in about["inputs"].items():
            values = [before(what["preprocessing"], sample[field]) for sample in samples]
            first, *mask = what["tensors"]
            lengths = [value.shape[-1] for value in values]
            if mask:
                given[mask[0]] = np.arange(max(lengths)) < np.array(lengths)[:, None]
                values = [np.pad(v, [(0, 0)] * (v.ndim - 1) + [(0, max(lengths) - v.shape[-1])]) for v in values]
            given[first] = np.stack(values).astype(what["tensors"][first]["dtype"])
        for name, tensor in about.get("random", {}).items():
            drawn = torch.randn(tensor["shape"][1:], generator=torch.Generator().manual_seed(tensor["seed"])).numpy()
            given[name] = np.stack([drawn] * len(samples))
        place = self.folder / about["file"]
        if place.suffix == ".onnx":
            session = onnxruntime.InferenceSession(place)
            names = [each.name for each in session.get_outputs()]
            return dict(zip(names, session.run(None, given), strict=True))
        program = torch.export.load(place).module()
        return {
            name: each.numpy() for name, each in program(**{k: torch.from_numpy(v) for k, v in given.items()}).items()
        }


def before(steps, value):
    """Returns a raw value as the steps make it a tensor."""
    for step in steps:
        value = STEPS[step["step"]](value, step)
    return value


def crop(picture, step):
    width, height = picture.size
    assert step["central"] == 1
    w, h = round(min(width, height * step["aspect"])), round(min(height, width / step["aspect"]))
    left, top = round((width - w) / 2), round((height - h) / 2)
    return picture.crop((left, top, left + w, top + h))


def resize(picture, step):
    """Of whole levels both kinds of interpolation differ by one; the pictures here have the size."""
    assert list(picture.size[::-1]) == step["size"]
    return np.asarray(picture)[None] if picture.mode == "L" else np.moveaxis(np.asarray(picture), 2, 0)


def normalise(value, step):
    return (value - np.reshape(step["mean"], (-1, 1, 1))) / np.reshape(step["std"], (-1, 1, 1))


def tokenize(text, step):
    tokenizer = Tokenizer.from_str(json.dumps(step["tokenizer"]))
    tokenizer.encode_special_tokens = step["encode_special_tokens"]
    return tokenizer.encode(text, add_special_tokens=step["add_special_tokens"]).ids


def decode(raw, step):
    if "mode" in step:
        return Pillow.open(io.BytesIO(raw)).convert(step["mode"])
    samples, rate = soundfile.read(io.BytesIO(raw), dtype="float64", always_2d=True)
    return samples.T, rate


def mix(sound, step):
    assert step["channels"] == 1
    return sound[0].mean(0), sound[1]


def resample(sound, step):
    assert sound[1] == step["sample_rate"]
    return sound[0]


def fit(wave, step):
    start = max(0, len(wave) - step["samples"]) // 2
    kept = wave[start : start + step["samples"]]
    return np.pad(kept, (0, step["samples"] - len(kept)))


def lengthen(wave, step):
    return np.pad(wave, (0, max(0, step["samples"] - len(wave))))


def spectrogram(wave, step):
    size, hop = step["n_fft"], step["hop_length"]
    assert step["window"] == "hann"
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(size) / size)
    padded = np.pad(wave, size // 2, mode="reflect")
    frames = np.stack([padded[start : start + size] for start in range(0, len(padded) - size + 1, hop)], 1)
    return np.abs(np.fft.rfft(frames * window[:, None], axis=0)) ** step["power"]


def mel(picture, step):
    edges = np.linspace(0, 2595 * np.log10(1 + step["sample_rate"] / 2 / 700), step["bands"] + 2)
    edges = 700 * (10 ** (edges / 2595) - 1)
    bins = np.linspace(0, step["sample_rate"] / 2, len(picture))
    up = (bins[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    down = (edges[2:] - bins[:, None]) / np.diff(edges)[1:]
    return np.maximum(0, np.minimum(up, down)).T @ picture


def decibels(picture, step):
    levels = step["factor"] * np.log10(np.maximum(picture, step["least"]))
    return np.maximum(levels, levels.max() - step["range"])


def standardise(picture, step):
    return ((picture - picture.mean()) / max(picture.std(), step["least"]))[None]


STEPS = {
    "decode": decode,
    "crop": crop,
    "resize": resize,
    "scale": lambda value, step: value * step["factor"],
    "normalise": normalise,
    "clean": lambda text, step: unicodedata.normalize("NFC", text).removeprefix("\ufeff").strip(),
    "tokenize": tokenize,
    "cut": lambda ids, step: ids[: step["tokens"]],
    "surround": lambda ids, step: np.array([step["before"], *ids, step["after"]]),
    "pad": lambda value, step: value,
    "mix": mix,
    "resample": resample,
    "fit": fit,
    "lengthen": lengthen,
    "spectrogram": spectrogram,
    "mel": mel,
    "decibels": decibels,
    "standardise": standardise,
}


def picture(seed, size, channels):
    pixels = np.random.default_rng(seed).integers(0, 256, (size, size, channels), dtype=np.uint8)
    buffer = io.BytesIO()
    Pillow.fromarray(pixels.squeeze()).save(buffer, "PNG")
    return buffer.getvalue()


def sound(seed, rate, seconds):
    buffer = io.BytesIO()
    wave = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(buffer, wave, rate, "FLOAT", format="WAV")
    return buffer.getvalue()


def named(what, row):
    """Returns class -> probability, as the last step says."""
    (step,) = what["postprocessing"]
    return dict(zip(step.get("classes") or step["tags"], row.tolist(), strict=True))


@pytest.mark.parametrize("count", [1, 3])
def test_pictures_and_words_lie_where_predict_puts_them(clip, of_clip, count):
    pictures = [{"image": picture(seed, 8, 1)} for seed in range(count)]
    found, outputs = of_clip("image", pictures), of_clip.about["parts"]["image"]["outputs"]
    right = clip(pictures)
    assert np.allclose(found["image_embedding"], [each["image_embedding"] for each in right], **CLOSE)
    for name in ("label", "tags"):
        for row, answer in zip(found[name], right, strict=True):
            given = named(outputs[name], row)
            assert {key: given[key] for key in answer[name]} == pytest.approx(answer[name], abs=1e-4)
    texts = [{"text": text} for text in (" the digit two\n", "a nine", "e\u0301 <eos> seven written by hand")[:count]]
    found = of_clip("text", texts)
    assert np.allclose(found["text_embedding"], [each["text_embedding"] for each in clip(texts)], **CLOSE)


@pytest.mark.parametrize("count", [1, 3])
def test_an_answer_is_given_as_predict_gives_it(of_vqa, count):
    vqa, exported = of_vqa
    random = torch.Generator().manual_seed(count)
    asked = [
        {"image": picture(seed, 32, 3), "question": vqa.model.modalities["question"].example(random)}
        for seed in range(count)
    ]
    found = exported("model", asked)["answer"]
    for row, answer in zip(found, vqa(asked), strict=True):
        given = named(exported.about["parts"]["model"]["outputs"]["answer"], row)
        assert given == pytest.approx(answer["answer"], abs=1e-4)


@pytest.fixture(scope="module")
def of_vqa(tmp_path_factory):
    vqa = predictor("vqa")
    return vqa, Exported(vqa, tmp_path_factory.mktemp("vqa") / "out")


@pytest.fixture(scope="module")
def of_localization(tmp_path_factory):
    made = predictor("localization")
    return made, Exported(made, tmp_path_factory.mktemp("localization") / "out")


@pytest.mark.parametrize("count", [1, 3])
def test_a_map_is_that_of_predict(of_localization, count):
    localization, exported = of_localization
    task = localization.model.task
    audio = localization.model.modalities["audio"].config
    asked = [
        {"image": picture(seed, 40, 3), "audio": sound(seed, audio.sample_rate, 0.5 + seed)} for seed in range(count)
    ]
    found = exported("model", asked)["heat"]
    batch = task.batched(asked)
    with torch.no_grad():
        looks = torch.nn.functional.interpolate(task(batch).heat[:, None], (40, 40), mode="bilinear")[:, 0]
    assert found.shape == (count, 40, 40)
    assert np.allclose(found, looks, **CLOSE)
    for heat, answer in zip(found, localization(asked), strict=True):
        rows, columns = np.nonzero(heat >= float(task.threshold))
        box = [[columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]] if len(rows) else []
        assert np.allclose(box, answer["box"])


def test_random_numbers_are_inputs(tmp_path):
    drawing = predictor("text2image")
    exported = Exported(drawing, tmp_path / "out", "torch")
    about = exported.about["parts"]["model"]
    assert list(about["random"]) == ["normal_code"]
    asked = [{"caption": drawing.model.modalities["caption"].example(torch.Generator())}] * 3
    found = exported("model", asked)["image"]
    with torch.no_grad():
        right = drawing.model.task.predict(drawing.model.task.batched([{**asked[0], "id": ""}]))["image"]
    assert np.allclose(found, right.expand(3, -1, -1, -1), **CLOSE)


def test_the_description_tells_shapes_and_axes(of_clip):
    about = of_clip.about["parts"]["text"]["inputs"]["text"]["tensors"]
    assert about["text"]["dtype"] == "int64"
    assert about["text"]["axes"] == about["text_mask"]["axes"] == ["batch", "tokens"]
    assert about["text"]["shape"][0] == "batch"
    assert isinstance(about["text"]["shape"][1], str)
    image = of_clip.about["parts"]["image"]["inputs"]["image"]["tensors"]["image"]
    assert image == {"dtype": "float32", "shape": ["batch", 1, 8, 8], "axes": ["batch", "channels", "rows", "columns"]}


def test_names_of_tensors_follow_the_structure():
    assert list(leaves("a b", {"c": torch.ones(1), "d": (torch.ones(1),)})) == ["a_b_c", "a_b_d_0"]


def test_from_python(clip, tmp_path):
    (tmp_path / "empty").mkdir()
    files = Loaded(clip).export(tmp_path / "empty", "torch")
    assert [path.name for path in files] == ["image.pt2", "model.json", "text.pt2"]
    assert list(tmp_path.iterdir()) == [tmp_path / "empty"]


def test_what_no_graph_can_hold_is_told_in_one_message(capfd):
    """Torch prints the graph so far to the error stream; a user sees the message alone."""
    field = Vector(Vector.Config(size=4))

    def decides(batch):
        return {"y": batch["x"] * (2 if batch["x"].sum() > 0 else 3)}

    with pytest.raises(SensoriumError, match=r"What answers y of x cannot be written down as a graph"):
        trace(torch.nn.Identity(), Part("It decides.", decides, {"x": field}, {"y": field}))
    assert capfd.readouterr() == ("", "")


def test_mistakes_are_told_first(sensorium, tmp_path, monkeypatch):
    answer = sensorium("export", "models:/digits/1", "--output", str(tmp_path / "new"), "--format", "tflite")
    assert answer.status == 2
    assert "There is no format 'tflite'. Known: onnx, torch." in answer.err
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    answer = sensorium("export", "nowhere", "--output", str(tmp_path / "full"))
    assert answer.status == 2
    assert "is there already" in answer.err
    answer = sensorium("export", str(tmp_path / "nowhere"), "--output", str(tmp_path / "new"))
    assert answer.status == 2
    assert "nowhere" in answer.err
    assert not (tmp_path / "new").exists()
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(UserError, match=r"sensorium\[onnx\]"):
        check(str(tmp_path / "new"), "onnx")
    assert check(str(tmp_path / "new"), "torch") == tmp_path / "new"
