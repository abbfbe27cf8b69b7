"""VQA: what the answer and its baselines see, and what is reported."""

import numpy as np
import pytest
import torch

from sensorium import Batch, UserError
from sensorium.builtin.encoders.convnet import ConvNet
from sensorium.builtin.encoders.rnn import RNN
from sensorium.builtin.encoders.torchvision import Backbone
from sensorium.builtin.fusions import Bilinear, Concatenation, Product, Projection, Sum
from sensorium.builtin.losses.cross_entropy import CrossEntropy
from sensorium.builtin.metrics.classification import Accuracy
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.tags import Tags
from sensorium.builtin.modalities.text import Text
from sensorium_recognition.task import Recognition
from sensorium_vqa.task import VQA

QUESTIONS = ["what colour is the three", "is there a nine", "is there a three"]
ANSWERS = ["red", "yes", "no"]
EYES = ConvNet.Config(widths=[4, 8], dim=6)


@pytest.fixture(scope="module")
def modalities():
    text, label, tags = Text.Config(max_length=10).build(), Label.Config().build(), Tags.Config().build()
    text.fit(QUESTIONS)
    label.fit(ANSWERS)
    tags.fit([["red"], ["blue"]])
    return {"image": Image.Config(size=8).build(), "question": text, "answer": label, "tags": tags}


@pytest.fixture
def batch(modalities):
    random = np.random.default_rng(0)
    samples = [
        {
            "id": str(i),
            "image": random.integers(0, 256, (8, 8, 3), dtype=np.uint8),
            "question": question,
            "answer": answer,
            "type": "other" if answer == "red" else "yes/no",
        }
        for i, (question, answer) in enumerate(zip(QUESTIONS, ANSWERS, strict=True))
    ]
    fields = {
        name: modalities[name].collate(
            [modalities[name].transform(modalities[name].decode(sample[name]), None) for sample in samples]
        )
        for name in ("image", "question", "answer")
    }
    return Batch(samples, fields)


def built(modalities, **options):
    torch.manual_seed(0)
    words = RNN.Config(cell="lstm", bidirectional=False, layers=2, hidden=5, dim=4)
    parts = {"encoder": EYES, "words": words, "fusion": Product.Config(dim=9), "loss": CrossEntropy.Config()}
    return VQA.Config(**{**parts, "hidden": 8, **options}).build(modalities).eval()


def test_the_answer_by_hand(modalities, batch):
    task = built(modalities)
    seen = task.encoder(batch["image"]).pooled
    asked = task.words(batch["question"]).pooled
    seen, asked = (each / each.square().mean(1, keepdim=True).sqrt() for each in (seen, asked))
    maps = task.fusion.maps
    joint = torch.tanh(maps["image"](seen)) * torch.tanh(maps["question"](asked))
    _, first, _, _, last = task.head
    assert torch.allclose(task(batch)["answer"], last(torch.tanh(first(joint))), atol=1e-6)


def test_a_longer_neighbour_does_not_change_a_question(modalities, batch):
    task = built(modalities)
    alone = task(Batch(batch.samples[1:2], {n: cut(value) for n, value in batch.fields.items()}))
    assert torch.allclose(task(batch)["answer"][1], alone["answer"][0], atol=1e-6)


def cut(value):
    if isinstance(value, torch.Tensor):
        return value[1:2]
    length = int(value.mask[1].sum())
    return type(value)(value.data[1:2, :length], value.mask[1:2, :length])


def test_baselines_are_blind(modalities, batch):
    task = built(modalities)
    before = task(batch)
    other = Batch(batch.samples, {**batch.fields, "image": batch["image"].flip(0)})
    assert torch.equal(task(other)["image_blind"], before["image_blind"])
    assert not torch.equal(task(other)["question_blind"], before["question_blind"])
    asked = type(batch["question"])(batch["question"].data.flip(0), batch["question"].mask.flip(0))
    other = Batch(batch.samples, {**batch.fields, "question": asked})
    assert torch.equal(task(other)["question_blind"], before["question_blind"])
    assert not torch.equal(task(other)["image_blind"], before["image_blind"])


def test_baselines_teach_the_model_nothing(modalities, batch):
    task = built(modalities)
    outputs = task(batch)
    (outputs["image_blind"].sum() + outputs["question_blind"].sum()).backward()
    for part in ("encoder", "words", "fusion", "head"):
        assert all(parameter.grad is None for parameter in getattr(task, part).parameters())


@pytest.mark.parametrize("fusion", [Sum.Config(dim=9), Concatenation.Config(), Bilinear.Config(dim=9, rank=7)])
def test_other_fusions_fit(fusion, modalities, batch):
    assert built(modalities, fusion=fusion)(batch)["answer"].shape == (3, 3)


def test_rows_name_answers_and_types(modalities, batch):
    task = built(modalities)
    batch.samples[0]["answers"] = ["red"] * 9 + ["blue"]
    outputs = {name: torch.eye(3)[[1, 2, 0]] for name in ("answer", "image_blind", "question_blind")}
    rows = task.rows(outputs, batch)
    assert rows["said.answer"] == ["red", "yes", "no"]
    assert rows["answers"] == [["red"] * 9 + ["blue"], ["yes"], ["no"]]
    assert rows["type"] == ["other", "yes/no", "yes/no"]
    assert set(task.plots({**rows, "id": batch.ids}, batch.samples)) == {"answers.png"}
    assert "answered 'red'; it is 'red'" in task.examples({**rows, "id": batch.ids}, batch.samples)[0]


def test_a_type_that_is_not_there_is_named(modalities, batch):
    task = built(modalities, type="typ")
    with pytest.raises(UserError, match=r"no field 'typ' at model.type.*Did you mean 'type'"):
        task.rows(task(batch), batch)


def test_dollars_in_a_question_are_no_formulas(modalities, batch):
    task = built(modalities)
    batch.samples[0]["question"] = "is it $5% or $10%?"
    assert task.plots(task.rows(task(batch), batch), batch.samples)["answers.png"]


def test_predict_gives_chances(modalities, batch):
    chances = built(modalities).predict(batch)["answer"]
    assert torch.allclose(chances.sum(1), torch.ones(3))


@pytest.mark.parametrize(("weights", "tuned"), [(None, True), ("DEFAULT", False)])
def test_the_network_that_sees_is_trained_where_it_starts_without_weights(weights, tuned, modalities):
    eyes = Backbone.Config(model="mobilenet_v3_small", weights=weights)
    for option, trains in ((None, tuned), (False, False), (True, True)):
        (stage,) = built(modalities, encoder=eyes, fine_tune=option).stages()
        assert ("encoder" in stage.objectives[0].updates) is trains


def test_the_network_of_a_recognition_stays_as_it_is_unless_it_is_tuned(modalities):
    recognition = Recognition.Config(encoder=EYES, targets=["tags"])
    for tuned in (None, False, True):
        stages = built(modalities, encoder=None, recognition=recognition, fine_tune=tuned).stages()
        assert [stage.name for stage in stages] == ["recognition", "answer"]
        assert ("recognition.encoder" in stages[1].objectives[0].updates) is bool(tuned)


def test_what_does_not_fit_is_refused(modalities):
    with pytest.raises(ValueError, match="either an encoder or a recognition"):
        built(modalities, encoder=None)
    with pytest.raises(UserError, match="joins nothing"):
        built(modalities, fusion=Projection.Config(dim=3))
    with pytest.raises(UserError, match="'answer', which has no modality"):
        built({name: each for name, each in modalities.items() if name != "answer"})


def test_answers_that_training_did_not_have_are_wrong_and_teach_nothing(modalities, batch):
    label = Label.Config(most=2, unknown="ignore").build()
    label.fit(ANSWERS)
    task = built({**modalities, "answer": label})
    batch.fields["answer"] = label.collate([label.transform(answer, None) for answer in ("no", "yes", "red")])
    outputs = task(batch)
    kept = {"no", "red"}  # of equally frequent ones the first by letter
    assert set(label.names) == kept
    assert task.losses(outputs, batch)["answer"][1] == 0
    rows = {"logits.answer": outputs["answer"], "target.answer": batch["answer"]}
    assert Accuracy.Config().build()(rows)["answer_accuracy"] <= 2 / 3
