"""What the two objectives of GAN-INT-CLS minimise, against numbers worked out by hand.

Shapes: B samples.
"""

import copy
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image as Pillow
from torch import nn

from sensorium import Batch, UserError, workers
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.experiment.parsing import parse
from sensorium.plugins import Plugins
from sensorium_text2image.networks import Discriminator, Generator, halvings
from sensorium_text2image.photographs import DescribedPhotographs
from sensorium_text2image.task import seeking

SMALL = ["dataset.train=64", "dataset.held_out=8", "model.width=8", "model.code=4"]


@pytest.fixture(scope="module")
def assembly():
    return assemble(load("text2image", SMALL))


@pytest.fixture
def task(assembly):
    return copy.deepcopy(assembly.task).eval()


@pytest.fixture(scope="module")
def batch(assembly):
    samples = [assembly.splits["train"][index] for index in range(6)]
    fields = {}
    for name, modality in assembly.modalities.items():
        fields[name] = modality.collate([modality.transform(modality.decode(s[name]), None) for s in samples])
    return Batch(samples, fields, seed=3)


def test_sides_are_halved_until_they_are_small():
    assert [halvings((side, side)) for side in (12, 16, 64)] == [(2, 3), (2, 4), (4, 4)]
    for size in ((16, 12), (5, 5), (9, 9)):
        with pytest.raises(UserError, match="cannot be drawn"):
            halvings(size)


def test_a_picture_follows_from_sentence_and_code_alone():
    torch.manual_seed(0)
    generator = Generator(sentence=6, code=4, short=5, width=8, channels=3, size=(12, 12))
    sentence, code = torch.randn(3, 6), torch.randn(3, 4)
    drawn = generator(sentence, code)
    assert drawn.shape == (3, 3, 12, 12)
    assert drawn.abs().max() <= 1
    assert torch.allclose(generator(sentence[:1], code[:1]), drawn[:1], atol=1e-6), "neighbours change nothing"
    assert (generator(sentence, code + 1) - drawn).abs().max() > 1e-3
    assert (generator(sentence + 1, code) - drawn).abs().max() > 1e-3


def test_the_score_depends_on_the_sentence():
    torch.manual_seed(0)
    discriminator = Discriminator(sentence=6, short=5, width=8, channels=3, size=(16, 16))
    picture, sentence = torch.randn(2, 3, 16, 16), torch.randn(2, 6)
    assert discriminator(picture, sentence).shape == (2,)
    assert (discriminator(picture, sentence) - discriminator(picture, sentence.flip(0))).abs().min() > 1e-4


class Linear(nn.Module):
    """Scores by the mean pixel times 10, and the sentence's first number times 2."""

    def forward(self, picture, sentence):
        return self.compare(self.look(picture), sentence)

    def look(self, picture):
        return 10 * picture.flatten(1).mean(1)

    def compare(self, seen, sentence):
        return seen + 2 * sentence[:, 0]


def softplus(value):
    return math.log1p(math.exp(value))


def test_the_discriminator_learns_from_three_kinds_of_pairs(task, batch):
    task.discriminator, task.config = Linear(), replace(task.config, penalty=1.0)
    sentence = torch.arange(6.0)[:, None].repeat(1, 64) / 10
    picture = torch.full((6, 3, 12, 12), -0.5)
    wrong = workers.mismatched(sentence, batch)
    terms = task.discriminate({"sentence": sentence, "picture": picture}, batch)
    real = batch["image"].flatten(1).mean(1)
    for i in range(6):
        right = 10 * real[i].item() + 2 * i / 10
        mismatched = 10 * real[i].item() + 2 * wrong[i, 0].item()
        assert terms["right"][i].item() == pytest.approx(softplus(-right), rel=1e-4)
        assert terms["wrong"][i].item() == pytest.approx(softplus(mismatched) / 2, rel=1e-4)
        assert terms["fake"][i].item() == pytest.approx(softplus(-5 + 2 * i / 10) / 2, rel=1e-4)
    # The slope by each of 432 pixels is 10 / 432; the mean is over the samples that are looked at.
    assert 0 < (batch.uniform("penalised") < 0.25).sum() < 6
    assert terms["penalty"].item() == pytest.approx(0.5 * 100 / 432, rel=1e-4)


def test_no_sentence_is_wrong_for_a_picture_that_it_describes(task, batch):
    same = torch.tensor([sample["group"] == batch.samples[0]["group"] for sample in batch.samples])
    numbers = torch.arange(6)
    met = workers.mismatched(numbers, batch)
    for index, other in enumerate(met.tolist()):
        assert batch.samples[index]["group"] != batch.samples[other]["group"] or same.all()


def test_without_mismatched_pairs_the_sentence_is_judged_of_fakes_alone(task, batch):
    outputs = task.drawn(batch)
    task.config = replace(task.config, mismatched=False)
    assert set(task.discriminate(outputs, batch)) == {"right", "fake", "penalty"}


def test_the_generator_is_scored_on_sentences_between_two(task, batch, monkeypatch):
    seen = []

    def score(picture, sentence):
        seen.append(sentence)
        return sentence[:, 0]

    monkeypatch.setattr(task, "score", score)
    sentence = torch.eye(6, 64)
    terms = task.deceive({"sentence": sentence}, batch)
    (between,) = seen
    share = batch.uniform("share", 1) * (batch.uniform("interpolated", 1) < 0.5)
    assert torch.allclose(between, (1 - share) * sentence + share * workers.mismatched(sentence, batch))
    assert 0 < (share == 0).sum() < 6
    assert torch.allclose(terms["real"], nn.functional.softplus(-between[:, 0]))


def test_some_sentences_are_drawn_twice_and_the_pictures_kept_apart(task, batch, monkeypatch):
    drawn = []

    def generator(sentence, code):
        drawn.append((sentence, code))
        return code.mean(1)[:, None, None, None].expand(-1, 3, 12, 12)

    monkeypatch.setattr(task.generator, "forward", generator)
    terms = task.deceive(task.read(batch), batch)
    ((sentence, code),) = drawn
    twice = batch.uniform("twice") < 0.25
    assert 0 < twice.sum() == len(sentence) - 6 < 6
    assert torch.equal(sentence[:6][twice], sentence[6:]), "both pictures are of one sentence"
    one, other = code[:6][twice], code[6:]
    apart = (one - other).abs().mean(1) / ((one.mean(1) - other.mean(1)).abs() + 1e-5)
    assert terms["seeking"].item() == pytest.approx(task.config.seeking * apart.mean().item(), rel=1e-4)


def test_alike_pictures_of_unlike_codes_cost_much():
    one, other = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    other[0] += 0.5
    other[1] += 0.01
    found = seeking(one, other, torch.zeros(2, 4), torch.ones(2, 4))
    assert found.tolist() == pytest.approx([2.0, 99.9], rel=1e-3)


def test_a_blind_discriminator_scores_alike_whatever_is_said(task, batch):
    task.config = replace(task.config, blind=True)
    outputs = task.drawn(batch)
    other = {**outputs, "sentence": outputs["sentence"].flip(0)}
    assert torch.equal(task.discriminate(outputs, batch)["right"], task.discriminate(other, batch)["right"])


def test_neither_objective_reaches_the_text_encoder_or_the_other_network(task, batch):
    task.requires_grad_(True)
    for objective in task.stages()[-1].objectives:
        task.zero_grad()
        own = objective.updates[0]
        losses = objective.losses(objective.forward(batch), batch)
        sum(term.mean() for term in losses.values()).backward()
        assert all(value.grad is None for value in task.clip.parameters())
        assert any(value.grad is not None for value in task.get_submodule(own).parameters())
        if own == "discriminator":
            assert all(value.grad is None for value in task.generator.parameters())


def photographs(root, images):
    for name, stem in (("001.Albatross", "Albatross_1"), ("002.Auklet", "Auklet_7")):
        folder = root / "text_c10" / name
        folder.mkdir(parents=True)
        (folder / f"{stem}.txt").write_text("".join(f"a bird, caption {line} of {stem}\n" for line in range(10)))
        place = root / images / name if images == "images" else root / images
        place.mkdir(parents=True, exist_ok=True)
        Pillow.fromarray(np.zeros((9, 7, 3), np.uint8)).save(place / f"{stem}.jpg")
    (root / "trainvalclasses.txt").write_text("001.Albatross\n")
    (root / "testclasses.txt").write_text("002.Auklet\n")


@pytest.mark.parametrize("images", ["images", "jpg"])
def test_the_layout_of_birds_and_of_flowers_is_read(tmp_path, images):
    photographs(tmp_path, images)
    dataset = parse(DescribedPhotographs.Config, {"root": str(tmp_path), "images": images}, Plugins()).build()
    taught, (test,) = (
        [*map(dataset.open(split).__getitem__, range(len(dataset.open(split))))] for split in dataset.splits
    )
    train = taught[0]
    assert (train["class"], test["class"]) == ("001.Albatross", "002.Auklet")
    assert [sample["caption"] for sample in taught] == train["captions"]
    assert train["captions"] == [f"a bird, caption {number} of Albatross_1" for number in range(10)]
    assert len({sample["id"] for sample in taught}) == 10
    with Pillow.open(train["image"]) as picture:
        assert picture.size == (7, 9)


def test_a_file_of_birds_that_lacks_something_is_named(tmp_path):
    photographs(tmp_path, "images")
    dataset = parse(DescribedPhotographs.Config, {"root": str(tmp_path)}, Plugins()).build()
    captions = tmp_path / "text_c10/002.Auklet/Auklet_7.txt"
    captions.write_bytes(b"a caf\xe9 colour\n")
    assert dataset.open("test")[0]["caption"] == "a caf\ufffd colour"
    captions.write_text("\n \n")
    with pytest.raises(UserError, match=r"Auklet_7\.txt is empty"):
        dataset.open("test")
    (tmp_path / "testclasses.txt").write_text("002.Auklet\n003.Awk\n")
    captions.write_text("a bird")
    with pytest.raises(UserError, match=r"class '003\.Awk', of which there are no captions"):
        dataset.open("test")


def test_pictures_that_cannot_be_drawn_are_refused():
    with pytest.raises(UserError, match="do not lie between -1 and 1"):
        assemble(load("text2image", [*SMALL, "modalities.image.mean=[0.4]"]))


def test_a_missing_photograph_is_named(tmp_path):
    photographs(tmp_path, "images")
    (tmp_path / "images" / "001.Albatross" / "Albatross_1.jpg").unlink()
    dataset = parse(DescribedPhotographs.Config, {"root": str(tmp_path)}, Plugins()).build()
    with pytest.raises(UserError, match=r"Albatross_1\.txt describes a photograph"):
        dataset.open("train")


def test_the_penalty_teaches_the_discriminator(task, batch):
    """R1 is differentiated twice: without its graph it would be a number that moves nothing."""
    task.config = replace(task.config, penalty=1.0)
    task.discriminator.requires_grad_(True)
    many = Batch([{**s, "id": f"{s['id']}/{n}"} for n in range(4) for s in batch.samples], seed=3)
    many.fields = {"image": batch["image"].repeat(4, 1, 1, 1)}
    slope = task._slope(many["image"], torch.randn(24, 64), many)
    assert slope.sum() > 0
    moved = torch.autograd.grad(slope.sum(), list(task.discriminator.parameters()), allow_unused=True)
    assert sum(float(each.abs().sum()) for each in moved if each is not None) > 0


def test_rows_score_pictures_with_their_own_and_with_others_sentences(task, batch):
    sentence = torch.arange(6.0)[:, None].repeat(1, 64) / 10
    task.discriminator = Linear()
    task.generator = nn.Module()
    task.generator.forward = lambda sentence, code: code[:, :1, None, None].expand(-1, 3, 12, 12)
    outputs = {"sentence": sentence, "picture": torch.full((6, 3, 12, 12), 0.5)}
    rows = task.rows(outputs, batch)
    real = 10 * batch["image"].flatten(1).mean(1)
    wrong = workers.mismatched(sentence, batch)[:, 0]
    assert torch.allclose(rows["right"], real + 2 * sentence[:, 0], atol=1e-5)
    assert torch.allclose(rows["wrong"], real + 2 * wrong, atol=1e-5)
    assert (wrong != sentence[:, 0]).any()
    assert torch.equal(rows["real"], batch["image"])
    assert (rows["apart"] > 0).all(), "two pictures of one sentence"
