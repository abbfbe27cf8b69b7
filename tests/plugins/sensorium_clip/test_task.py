"""CLIP's forward pass, its recognition without labels, and its answers, against hand-made numbers.

Shapes: B samples, D = 6 channels of the common space, C classes, P prompts.
"""

import io

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch.nn import functional as F

from sensorium import Batch, UserError
from sensorium.builtin.encoders.convnet import ConvNet
from sensorium.builtin.encoders.rnn import RNN
from sensorium.builtin.fusions import Concatenation, Projection
from sensorium.builtin.losses.cross_entropy import CrossEntropy
from sensorium.builtin.losses.infonce import InfoNCE
from sensorium.builtin.modalities.audio import Audio
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.text import Text
from sensorium_clip.task import Clip

CAPTIONS = ["a red square", "a blue square", "a red circle", "a blue circle"]
CLASSES = ["square", "square", "circle", "circle"]
PROMPTS = ["a red {}", "the {}", "a blue {}"]


def fitted(modality, values):
    modality.fit(values)
    return modality


@pytest.fixture
def modalities():
    return {
        "image": Image.Config(size=8, channels=1).build(),
        "text": fitted(Text.Config(tokenizer="words", max_length=8).build(), [*CAPTIONS, "the tall round one"]),
        "label": fitted(Label.Config().build(), CLASSES),
    }


PICTURES = ConvNet.Config(widths=[4], dim=5)
WORDS = RNN.Config(dim=7)


def clip(modalities, **options):
    torch.manual_seed(0)
    parts = {"encoders": {"image": PICTURES, "text": WORDS}, "fusion": Projection.Config(dim=6)}
    config = Clip.Config(**{**parts, "loss": InfoNCE.Config(), "prompts": PROMPTS, **options})
    return config.build(modalities).eval()


@pytest.fixture
def task(modalities):
    return clip(modalities)


@pytest.fixture
def samples():
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (4, 8, 8), dtype=np.uint8)
    columns = zip(pixels, CAPTIONS, CLASSES, strict=True)
    return [{"id": str(i), "group": t, "image": p, "text": t, "label": c} for i, (p, t, c) in enumerate(columns)]


def batched(modalities, samples, *fields):
    batch = Batch(samples)
    for name in fields or modalities:
        modality = modalities[name]
        values = [modality.transform(modality.decode(sample[name]), None) for sample in samples]
        batch.fields[name] = modality.collate(values)
    return batch


def test_embeddings_of_both_fields_have_unit_length(task, modalities, samples):
    outputs = task(batched(modalities, samples))
    assert list(outputs) == ["image", "text"]
    for embedding in outputs.values():
        assert embedding.shape == (4, 6)
        assert torch.allclose(embedding.norm(dim=1), torch.ones(4), atol=1e-6)


def test_a_field_is_embedded_by_itself(task, modalities, samples):
    both = task(batched(modalities, samples))
    for name in ("image", "text"):
        alone = task(batched(modalities, samples, name))
        assert list(alone) == [name]
        assert torch.allclose(alone[name], both[name], atol=1e-6)


def test_the_embedding_is_the_projected_vector_of_its_encoder(task, modalities, samples):
    batch = batched(modalities, samples)
    pooled = task.encoders["image"](batch["image"]).pooled
    expected = F.normalize(pooled @ task.fusion.maps["image"].weight.T, dim=-1)
    assert torch.allclose(task(batch)["image"], expected, atol=1e-6)


def test_the_loss_is_symmetric_cross_entropy_over_the_pairs(task, modalities, samples):
    batch = batched(modalities, samples)
    outputs = task(batch)
    logits = outputs["image"] @ outputs["text"].T / 0.07
    aims = torch.arange(4)
    expected = (F.cross_entropy(logits, aims) + F.cross_entropy(logits.T, aims)) / 2
    assert task.losses(outputs, batch)["pairs"].mean().item() == pytest.approx(expected.item(), rel=1e-5)


def test_samples_of_one_group_are_positives_of_one_another(task, modalities, samples):
    apart = task.losses(task(batch := batched(modalities, samples)), batch)["pairs"].mean()
    together = [{**sample, "group": sample["label"]} for sample in samples]
    batch = batched(modalities, together)
    outputs = task(batch)
    logits = outputs["image"] @ outputs["text"].T / 0.07
    aims = torch.block_diag(torch.ones(2, 2), torch.ones(2, 2)) / 2
    expected = (F.cross_entropy(logits, aims) + F.cross_entropy(logits.T, aims)) / 2
    found = task.losses(outputs, batch)["pairs"].mean()
    assert found.item() == pytest.approx(expected.item(), rel=1e-5)
    assert found != apart


# ---------------------------------------------------------------------------------- without labels


def test_words_are_the_mean_over_the_prompts(task):
    embeddings = task.embed_texts([prompt.replace("{}", name) for name in ("circle", "square") for prompt in PROMPTS])
    circle, square = embeddings[:3].mean(0), embeddings[3:].mean(0)
    words = task.words(["circle", "square"])
    assert words.shape == (2, 6)
    assert torch.allclose(words, torch.stack([circle / circle.norm(), square / square.norm()]), atol=1e-6)


def test_names_are_spoken_with_spaces(modalities):
    task = clip(modalities, prompts=["the {}"])
    assert torch.allclose(task.words(["tall_round_one"]), task.embed_texts(["the tall round one"]), atol=1e-6)


def test_rows_hold_what_the_figures_read(task, modalities, samples):
    batch = batched(modalities, samples)
    rows = task.rows(task(batch), batch)
    assert rows["key.text"] == CAPTIONS
    assert rows["key.image"] == ["0", "1", "2", "3"]
    assert rows["target.zero_shot"].tolist() == [1, 1, 0, 0]  # circle, square
    expected = task(batch)["image"] @ task.words(["circle", "square"]).T
    assert torch.allclose(rows["logits.zero_shot"], expected, atol=1e-6)


def test_pictures_from_files_have_their_path_as_key(task, modalities, samples, tmp_path):
    Pillow.fromarray(samples[0]["image"]).save(tmp_path / "a.png")
    pair = [{**sample, "image": str(tmp_path / "a.png")} for sample in samples[:2]]
    batch = batched(modalities, pair)
    assert task.rows(task(batch), batch)["key.image"] == [str(tmp_path / "a.png")] * 2


def test_recognition_follows_the_weights(task, modalities, samples):
    """Evaluate, train, evaluate: the words of the second time are those of the new weights."""
    from sensorium.engine.evaluation import evaluate
    from sensorium.engine.loader import Loader

    seen = []

    def figures(rows):
        seen.append(rows["logits.zero_shot"].clone())
        return {}

    task.metrics = figures
    for change in (0.0, 0.5):
        with torch.no_grad():
            for parameter in task.encoders["text"].parameters():
                parameter.add_(change)
        with Loader(samples, modalities, 1) as loader:
            evaluate(task, loader, "test", torch.device("cpu"), 4)
    batch = batched(modalities, samples)
    task.train().eval()
    expected = task(batch)["image"] @ task.words(["circle", "square"]).T
    assert torch.allclose(seen[1], expected, atol=1e-6)
    assert not torch.allclose(seen[0], seen[1], atol=1e-3)


def test_words_are_computed_once_between_changes(task, monkeypatch):
    calls = []
    embed = task.embed_texts
    monkeypatch.setattr(task, "embed_texts", lambda texts: calls.append(1) or embed(texts))
    task.words(["circle"])
    task.words(["circle"])
    task.words(["square"])
    assert len(calls) == 2
    task.eval()
    task.words(["circle"])
    assert len(calls) == 3


def test_the_class_may_have_any_field(modalities, samples):
    classed = {"image": modalities["image"], "text": modalities["text"], "shape": modalities["label"]}
    task = clip(classed)
    batch = batched(classed, [{**sample, "shape": sample["label"]} for sample in samples])
    assert task.rows(task(batch), batch)["target.zero_shot"].tolist() == [1, 1, 0, 0]
    assert set(task.outputs) == {"image_embedding", "text_embedding", "shape"}
    assert set(task.predict(batched(classed, samples, "image"))) == {"image_embedding", "shape"}


def test_of_two_classes_the_first_counts(modalities, samples):
    colours = fitted(Label.Config().build(), ["red", "blue", "green"])
    task = clip(
        {"image": modalities["image"], "text": modalities["text"], "colour": colours, "shape": modalities["label"]}
    )
    told = [{**s, "colour": c, "shape": s["label"]} for s, c in zip(samples, ["red", "blue"] * 2, strict=True)]
    batch = batched(task.modalities, told)
    rows = task.rows(task(batch), batch)
    assert rows["logits.zero_shot"].shape == (4, 3)
    assert rows["target.zero_shot"].tolist() == [2, 0, 2, 0]


# -------------------------------------------------------------------------------------------- answers


def test_inputs_and_outputs_are_typed(modalities):
    task = clip(modalities, tags=["red", "blue"])
    assert {name: type(m).__name__ for name, m in task.inputs.items()} == {
        "image": "Image",
        "text": "Text",
        "plus": "Text",
        "minus": "Text",
    }
    assert {name: type(m).__name__ for name, m in task.outputs.items()} == {
        "image_embedding": "Vector",
        "text_embedding": "Vector",
        "label": "Label",
        "tags": "Label",
    }
    assert task.optional == set(task.inputs)


def test_chances_are_the_softmax_of_scaled_similarities(task, modalities, samples):
    batch = batched(modalities, samples, "image")
    answer = task.predict(batch)
    assert list(answer) == ["image_embedding", "label"]
    expected = (answer["image_embedding"] @ task.words(["circle", "square"]).T / 0.07).softmax(-1)
    assert torch.allclose(answer["label"], expected, atol=1e-5)
    assert torch.allclose(answer["label"].sum(1), torch.ones(4))


def test_tags_keep_their_names_whatever_their_order(modalities, samples):
    answers = {}
    for tags in (["red", "blue", "circle"], ["circle", "red", "blue"]):
        task = clip(modalities, tags=tags)
        chances = task.predict(batched(modalities, samples[:1], "image"))["tags"][0]
        answers[tuple(tags)] = task.outputs["tags"].encode(chances.detach())
    first, second = answers.values()
    assert first == pytest.approx(second)
    task = clip(modalities, tags=["red", "blue", "circle"])
    batch = batched(modalities, samples[:1], "image")
    with torch.no_grad():
        nearest = max(["red", "blue", "circle"], key=lambda tag: float(task.words([tag]) @ task(batch)["image"][0]))
    assert next(iter(first)) == nearest


def test_words_are_added_and_taken_away(task, modalities, samples):
    words = {"plus": modalities["text"], "minus": modalities["text"]}
    given = [{**sample, "plus": "the circle", "minus": "the square"} for sample in samples]
    batch = batched(modalities | words, given, "image", "plus", "minus")
    image = task(batched(modalities, samples, "image"))["image"]
    circle, square = task.embed_texts(["the circle", "the square"])
    moved = task.predict(batch)["image_embedding"]
    assert torch.allclose(moved, F.normalize(image + circle - square, dim=-1), atol=1e-6)
    added = task.predict(batched(modalities | words, given, "image", "plus"))["image_embedding"]
    assert torch.allclose(added, F.normalize(image + circle, dim=-1), atol=1e-6)
    assert torch.allclose(task.predict(batch)["label"], (moved @ task.words(["circle", "square"]).T / 0.07).softmax(-1))


def test_words_alone_move_nothing(task, modalities, samples):
    given = [{**sample, "plus": "the circle"} for sample in samples]
    batch = batched(modalities | {"plus": modalities["text"]}, given, "plus")
    with pytest.raises(UserError, match=r"There is nothing to move by words\..*`plus` and `minus` move image"):
        task.predict(batch)


def test_two_fields_without_words_are_compared_alone(modalities, samples):
    fields = {"image": modalities["image"], "audio": Audio.Config(n_mels=16).build(), "label": modalities["label"]}
    task = clip(fields, encoders={"image": PICTURES, "audio": PICTURES}, tags=["red"])
    sounds = [{**sample, "audio": (np.sin(np.arange(4000) / (i + 9)), 16000)} for i, sample in enumerate(samples)]
    batch = batched(fields, sounds)
    assert set(task.inputs) == {"image", "audio"}
    assert set(task.outputs) == {"image_embedding", "audio_embedding"}
    assert set(task.rows(task(batch), batch)) == {"embedding.image", "embedding.audio", "key.image", "key.audio"}
    assert set(task.predict(batch)) == {"image_embedding", "audio_embedding"}


# ------------------------------------------------------------------------------------- mistakes, pictures


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"encoders": {"image": PICTURES, "sound": PICTURES}}, "names the field 'sound', which has no modality"),
        ({"encoders": {"image": PICTURES, "text": PICTURES}}, "The encoder ConvNet does not take 'tokens'."),
        ({"encoders": {"image": WORDS, "text": WORDS}}, "The encoder RNN does not take 'image'."),
        ({"fusion": Concatenation.Config()}, "model.fusion mixes the fields."),
        ({"loss": CrossEntropy.Config()}, "model.loss takes classes."),
    ],
)
def test_parts_that_do_not_belong_are_refused(modalities, options, text):
    with pytest.raises(UserError) as caught:
        clip(modalities, **options)
    assert text in str(caught.value)


@pytest.mark.parametrize("fields", [(), ("image",), ("image", "text", "label")])
def test_a_pair_is_of_two_fields(fields):
    with pytest.raises(ValueError, match=f"encoders must name two fields, not {len(fields)}"):
        Clip.Config(encoders=dict.fromkeys(fields, PICTURES), fusion=Projection.Config(), loss=InfoNCE.Config())


@pytest.fixture
def rows(task, modalities, samples):
    """Rows with which each picture finds its own caption, but for the last two, which are mixed up."""
    batch = batched(modalities, samples)
    found = {"id": batch.ids, "group": batch.groups, **task.rows(task(batch), batch)}
    found["embedding.image"] = torch.eye(4, 6)
    found["embedding.text"] = torch.eye(4, 6)[[0, 1, 3, 2]]
    found["logits.zero_shot"] = torch.tensor([[0.0, 1.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    return found


def test_examples_are_true(task, rows, samples):
    recognised, found = task.examples(rows, samples)
    assert recognised == "Zero-shot: image 0 is recognised as 'square'; it is 'square'."
    assert found.startswith("Retrieval: 'a red square' finds 0 (right), ")
    assert found.count("(wrong)") == 2


def test_pictures_are_drawn(task, rows, samples):
    pictures = task.plots(rows, samples)
    assert set(pictures) == {"similarity.png", "retrieval.png"}
    for png in pictures.values():
        with Pillow.open(io.BytesIO(png)) as opened:
            assert opened.format == "PNG"


def test_the_grid_marks_what_is_right(task, rows, samples):
    """Titles are green where the caption found is the picture's own, and red where it is not."""
    with Pillow.open(io.BytesIO(task.plots(rows, samples)["retrieval.png"])) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    red = ((pixels[..., 0] - pixels[..., 1] > 150) & (pixels[..., 2] < 80)).sum()
    green = ((pixels[..., 1] - pixels[..., 0] > 80) & (pixels[..., 2] < 80)).sum()
    assert red > 20
    assert green > 20
    wrong = {**rows, "embedding.text": torch.eye(4, 6)[[1, 2, 3, 0]]}
    with Pillow.open(io.BytesIO(task.plots(wrong, samples)["retrieval.png"])) as opened:
        pixels = np.asarray(opened.convert("RGB")).astype(int)
    assert ((pixels[..., 1] - pixels[..., 0] > 80) & (pixels[..., 2] < 80)).sum() == 0
