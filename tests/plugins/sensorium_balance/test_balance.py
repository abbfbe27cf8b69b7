"""Balance by hand: who is slowed down and how much, what weights follow from evaluations, and what is dropped."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from gloo import together
from sensorium import Evaluation, UserError
from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.contracts import workers
from sensorium.engine import parallel
from sensorium_balance.blending import FLOOR, UNMEASURED, blend
from sensorium_balance.ogm_ge import coefficients
from sensorium_balance.plot import by_class
from sensorium_balance.two_vectors import TwoVectors
from training import train

SMALL = ("dataset.train=100", "dataset.held_out=20", "training.global_batch=20")


@pytest.fixture(scope="module")
def built():
    made = {}

    def build(task, *overrides):
        key = (task, overrides)
        if key not in made:
            made[key] = assemble(load(task, [*SMALL, *overrides]))
        return made[key].task, made[key].splits["train"]

    return build


def some(task, split, count=8):
    return replace(task.batched([split[index] for index in range(count)]), progress=0.0)


# ---- one task, several inputs ------------------------------------------------------------------


def test_its_own_map_measures_an_encoder_and_teaches_it_nothing(built):
    task, split = built("fused")
    batch = some(task, split)
    task.zero_grad()
    terms = task.losses(task(batch), batch)
    (terms["own_audio"].mean() + terms["own_image"].mean()).backward()
    assert all(parameter.grad is None for parameter in task.encoders.parameters())
    assert all(parameter.grad.any() for parameter in task.own.parameters())


def test_a_dropped_input_is_zeros_in_training_and_whole_in_evaluation(built):
    task, split = built("fused", "model.dropout=0.5")
    batch = replace(some(task, split, 60), seed=3)
    seen = {name: torch.ones(60, 4) for name in task.fields}
    dropped = task.train()._dropped(seen, batch)
    missing = torch.stack([(each == 0).all(1) for each in dropped.values()])
    assert missing.sum(0).max() == 1, "never both"
    assert 15 <= int(missing.sum()) <= 45
    assert missing.any(1).all(), "one as well as the other"
    assert task.eval()._dropped(seen, batch) is seen


def test_what_cannot_be_joined_is_refused():
    with pytest.raises(UserError, match="two inputs at least"):
        load("fused", ["model.encoders={image: {name: convnet}}"])
    with pytest.raises(UserError, match="does not join"):
        assemble(load("fused", [*SMALL, "model.fusion=projection"]))
    with pytest.raises(UserError, match="no modality of the field 'smell'"):
        assemble(load("fused", [*SMALL, "model.target=smell"]))


# ---- OGM-GE ------------------------------------------------------------------------------------


def test_who_is_ahead_is_slowed_down_by_the_formula_of_the_paper():
    assert coefficients(torch.tensor([6.0, 1.0]), 0.5).tolist() == pytest.approx([1 - math.tanh(3), 1.0], rel=1e-4)
    assert coefficients(torch.tensor([1.0, 1.0]), 0.5).tolist() == [1.0, 1.0]
    three = coefficients(torch.tensor([4.0, 1.0, 1.0]), 0.1).tolist()
    assert three == pytest.approx([1 - math.tanh(0.4), 1.0, 1.0])


def gradients(task, batch):
    """Returns name -> gradient of each parameter of the encoders, before and after they are balanced."""
    task.zero_grad()
    outputs = task(batch)
    sum(term.mean() for term in task.losses(outputs, batch).values()).backward()
    encoders = {name: dict(task.encoder_of(name).named_parameters()) for name in task.inputs}
    before = {name: {key: p.grad.clone() for key, p in each.items()} for name, each in encoders.items()}
    detached = {"logits": outputs["logits"].detach(), "seen": {k: v.detach() for k, v in outputs["seen"].items()}}
    task.balance(detached, batch)
    return before, {name: {key: p.grad for key, p in each.items()} for name, each in encoders.items()}


@pytest.fixture
def leading(built):
    """A task in which the picture is ahead: its own map says the right class, the sound's says nothing."""
    task, split = built("ogm_ge", "model.noise=false", "model.alpha=0.5")
    task.eval()
    batch = some(task, split)
    for parameter in task.inner.own.parameters():
        parameter.data.zero_()
    task.inner.own["image"].bias.data[batch["label"][0]] = 5
    return task, batch


def test_weights_of_the_leading_encoder_alone_are_slowed_down(leading):
    task, batch = leading
    scores = []
    for logits in task.alone(task(batch), batch).logits.values():
        scores.append(logits.softmax(1).gather(1, batch["label"][:, None]).sum())
    ahead = float(scores[0] / scores[1])
    before, after = gradients(task, batch)
    assert ahead > 1
    for key, old in before["image"].items():
        share = 1 - math.tanh(0.5 * ahead) if old.ndim > 1 else 1.0
        torch.testing.assert_close(after["image"][key], share * old)
    for key, old in before["audio"].items():
        assert torch.equal(after["audio"][key], old)


def test_noise_is_as_large_as_the_gradients_and_follows_from_the_seed(built):
    task, split = built("ogm_ge", "model.alpha=0.01")
    task.eval()
    batch = replace(some(task, split), seed=5)
    before, once = gradients(task, batch)
    once = {name: {key: each.clone() for key, each in of.items()} for name, of in once.items()}
    _, again = gradients(task, batch)
    _, other = gradients(task, replace(batch, seed=6))
    key = max(before["audio"], key=lambda each: before["audio"][each].numel())
    old = before["audio"][key]
    assert float((once["audio"][key] - old).std() / old.std()) == pytest.approx(1, abs=0.1)
    assert torch.equal(once["audio"][key], again["audio"][key])
    assert not torch.equal(once["audio"][key], other["audio"][key])


def test_after_its_time_nobody_is_slowed_down(built):
    task, split = built("ogm_ge", "model.until=0.5")
    batch = some(task, split)
    before, after = gradients(task, replace(batch, progress=0.5))
    assert all(torch.equal(after[name][key], old) for name, of in before.items() for key, old in of.items())


def balanced(cut):
    """Returns the gradients of a worker's share of eight samples, after those of all workers are joined."""
    assembly = assemble(load("ogm_ge", [*SMALL, "model.alpha=0.5"]))
    task = assembly.task.eval()
    if cut:
        parallel.shard(task, torch.device("cpu"))
    size, rank = workers.size(), workers.rank()
    split = assembly.splits["train"]
    batch = task.batched([split[index] for index in range(8)[rank * 8 // size : (rank + 1) * 8 // size]])
    batch = replace(batch, seed=5, progress=0.0)
    outputs = task(batch)
    sum(term.mean() for term in task.losses(outputs, batch).values()).backward()
    if not cut:
        for parameter in task.parameters():
            if parameter.grad is not None:
                parameter.grad.copy_(workers.add(parameter.grad) / size)
    task.balance(
        {"logits": outputs["logits"].detach(), "seen": {k: v.detach() for k, v in outputs["seen"].items()}}, batch
    )
    given = {name: parameter.grad for name, parameter in task.named_parameters() if parameter.grad is not None}
    return {name: workers.whole(gradient) for name, gradient in given.items()}


@pytest.mark.parametrize("cut", [False, True], ids=["copies", "shards"])
def test_two_workers_slow_down_as_one_does(cut):
    alone = balanced(False)
    for found in together(2, balanced, cut):
        for name, gradient in alone.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


# ---- Gradient-Blending -------------------------------------------------------------------------


def test_weights_are_generalisation_over_the_square_of_overfitting():
    first = torch.tensor([[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]])
    last = torch.tensor([[0.5, 1.0, 1.0], [1.0, 1.2, 2.5]])  # training samples, others
    raw = torch.tensor([1.0 / 0.5**2, 0.8 / 0.2**2, 0.0])
    torch.testing.assert_close(blend(first, last), 3 * raw / raw.sum())
    assert blend(first, first + 1).tolist() == pytest.approx([1] * 3), "nothing generalises"
    no_gap = blend(first, torch.tensor([[1.0, 1.5, 2.0], [1.0, 1.5, 2.0]]))
    torch.testing.assert_close(no_gap, torch.tensor([2.0, 1.0, 0.0]))  # over the floor, which is the same for all
    assert FLOOR > 0


def test_each_loss_counts_by_its_weight_and_teaches_its_encoder(built):
    task, split = built("gradient_blending")
    batch = some(task, split)
    task.eval()
    task.weights.copy_(torch.tensor([0.7, 0.3, 0.0]))
    outputs = task(batch)
    terms = task.losses(outputs, batch)
    alone = task.alone(outputs, batch)
    expected = 0.7 * F.cross_entropy(alone.logits["image"], batch["label"], reduction="none")
    torch.testing.assert_close(terms["image"], expected)
    task.zero_grad()
    terms["audio"].mean().backward()
    assert any(
        parameter.grad is not None and parameter.grad.any() for parameter in task.encoder_of("audio").parameters()
    )
    assert not terms["joint"].any()
    assert set(terms) == {"image", "audio", "joint", "own_image", "own_audio"}
    together_alone = F.cross_entropy(outputs["logits"], batch["label"])
    rows = task.rows(outputs, batch)
    torch.testing.assert_close(rows["blended.joint"].mean(), together_alone)  # without the maps' own losses


def test_what_an_input_says_alone_is_learnt_also_without_weight(built):
    task, split = built("gradient_blending")
    task.weights.copy_(torch.tensor([0.0, 1.0, 0.0]))
    task.zero_grad()
    batch = some(task, split)
    sum(term.mean() for term in task.losses(task(batch), batch).values()).backward()
    task.weights.fill_(1)
    assert task.inner.own["image"].weight.grad.any()
    assert not any(parameter.grad.any() for parameter in task.encoder_of("image").parameters())


def test_a_loss_that_the_inner_task_lacks_is_refused(built):
    with pytest.raises(UserError, match=r"jiont.*Did you mean 'joint'"):
        built("gradient_blending", "model.joint=jiont")


def test_weights_are_estimated_every_so_often_when_both_splits_were_measured(built):
    task, _ = built("gradient_blending", "model.every=2")
    task.weights.fill_(1)
    task.first.fill_(UNMEASURED)
    task.last.fill_(UNMEASURED)

    def measured(split, *losses):
        names = [f"{name}_loss" for name in ("image", "audio", "joint")]
        task.evaluated(Evaluation(1, split, dict(zip(names, losses, strict=True))))

    measured("few", 2, 2, 2)
    measured("validation", 2, 2, 2)
    measured("test", 0, 0, 0)
    assert task.weights.tolist() == pytest.approx([1] * 3), "that was the beginning"
    measured("few", 0.5, 1.0, 1.0)
    assert task.weights.tolist() == pytest.approx([1] * 3), "the other one is of before"
    with pytest.raises(UserError, match=r"few is evaluated.*during=\[few,validation\]"):
        measured("few", 0.5, 1.0, 1.0)
    measured("validation", 1.0, 1.2, 2.5)
    assert task.weights.tolist() == pytest.approx([1] * 3), "one measurement since the beginning"
    measured("few", 0.5, 1.0, 1.0)
    measured("validation", 1.0, 1.2, 2.5)
    raw = torch.tensor([1 / 0.5**2, 0.8 / 0.2**2, 0])  # losses began at 2 everywhere
    torch.testing.assert_close(task.weights, 3 * raw / raw.sum())
    for _ in range(2):
        measured("few", 0.5, 0.6, 0.9)
        measured("validation", 1.0, 1.0, 2.4)
    raw = torch.tensor([0, 0.2 / 0.2**2, 0.1 / FLOOR**2])  # since the last estimate, not since the beginning
    torch.testing.assert_close(task.weights, 3 * raw / raw.sum())


def test_an_inner_task_that_is_not_trained_is_refused_with_a_sentence(built, monkeypatch):
    task, _ = built("gradient_blending")
    monkeypatch.setattr(task, "earlier", lambda *names: [])
    with pytest.raises(UserError, match="trained in 0 stages"):
        task.stages()


def test_a_split_that_is_both_is_refused():
    with pytest.raises(UserError, match="two splits"):
        load("gradient_blending", ["model.learnt=validation"])


# ---- one vector larger or noisier than the other ----------------------------------------------------------


VECTORS = (
    "modalities={first: {name: vector, size: 64}, second: {name: vector, size: 64}, label: label}",
    "model.inner.encoders={first: mlp, second: mlp}",
    "model.learnt=train",
    "evaluation.during=[train,validation]",
    "training.epochs=6",
)


def estimated(place, *more):
    options = (
        "dataset={name: two_vectors, train: 100, held_out: 60}",
        *VECTORS,
        "training.global_batch=20",
        "model.every=2",
    )
    return train("gradient_blending", Path(place), *options, *more).assembly.task.weights


def test_two_workers_estimate_the_weights_of_one(tmp_path):
    alone = estimated(tmp_path / "one")
    assert max(alone) - min(alone) > 0.1
    for found in together(2, estimated, str(tmp_path / "two"), "run.workers=2"):
        torch.testing.assert_close(found, alone, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("evaluation", ["{epochs: 1}", "{epochs: 1, during: few}", "{during: [few, validation]}"])
def test_splits_that_would_not_be_measured_are_told_before_the_first_step(tmp_path, evaluation):
    with pytest.raises(UserError, match=r"Of the splits few and validation.*evaluation.during=\[few,validation\]"):
        train("gradient_blending", tmp_path, *SMALL, f"evaluation={evaluation}", "training.steps=1")


@pytest.mark.learn
@pytest.mark.parametrize("noisier", ["first", "second"])
def test_what_is_learnt_by_heart_is_given_less_weight(tmp_path, noisier):
    apart = ", ".join(f"{name}_apart: {3 if name == noisier else 6}" for name in ("first", "second"))
    world = f"dataset={{name: two_vectors, train: 400, held_out: 100, {apart}}}"
    weights = train("gradient_blending", tmp_path, world, *VECTORS).assembly.task.weights
    first, second, _ = weights.tolist()
    assert (first < 0.5 * second) if noisier == "first" else (second < 0.5 * first)


def test_both_vectors_tell_the_class_equally_well_and_a_spoilt_one_tells_nothing():
    config = TwoVectors.Config(train=1500, first=1024, second=8)
    world = TwoVectors(config)
    train, test, spoilt = (world.open(split) for split in ("train", "test", "spoilt"))

    def told(split, name):
        """Returns how often the nearest mean of the training split is right."""
        labels = np.array([train[i]["label"] for i in range(1500)])
        values = np.stack([train[i][name] for i in range(1500)])
        means = np.stack([values[labels == str(c)].mean(0) for c in range(config.classes)])
        right = 0
        for index in range(500):
            sample = split[index]
            right += int(((means - sample[name]) ** 2).sum(1).argmin()) == int(sample["label"])
        return right / 500

    assert told(test, "second") > 0.95
    assert told(test, "first") > 0.9
    assert told(spoilt, "first") < 0.25
    assert (spoilt[3]["second"] == test[3]["second"]).all()
    apart = world.open("train").means
    for means in apart.values():
        assert np.linalg.norm(means[0] - means[1]) == pytest.approx(6)


@pytest.mark.parametrize("options", [{"classes": 65}, {"first_apart": 0}, {"second_apart": 0}, {"train": 0}])
def test_a_world_that_cannot_be_is_refused(options):
    with pytest.raises(ValueError, match=r"at least|at most"):
        TwoVectors.Config(**options)


def test_shares_that_are_shown_are_of_each_class():
    rows = {
        "logits.audio_alone": torch.eye(3)[[0, 1, 1, 2, 0]],
        "target.audio_alone": torch.tensor([0, 0, 1, -100, 0]),
    }
    assert by_class(rows, "logits.audio_alone", 3).tolist() == pytest.approx([2 / 3, 1, 0])


def test_all_together_and_each_alone_are_drawn(built):
    task, split = built("fused")
    batch = some(task.eval(), split)
    rows = task.rows(task(batch), batch)
    assert task.plots(rows, split)["alone.png"].startswith(b"\x89PNG")
