"""What the contract carries beyond one loss a sample, on one worker and on two."""

from pathlib import Path

import pytest
import torch

from contract_toys import DIM
from gloo import together
from sensorium import Source, UserError, minimise
from sensorium.contracts.reading import batch_of
from sensorium.inference.predictor import Predictor
from training import build, train

COMMON = ("dataset.train=21", "training.global_batch=7", "evaluation.epochs=1", "training.optimizer.name=sgd")


def trained(folder, task, *options):
    run = train(task, Path(folder), *COMMON, *options)
    calls = getattr(run.assembly.task, "calls", [])
    losses = [{name: float(value) for name, value in step.losses.items()} for step in run.steps]
    return losses, run.weights(), dict(run.outcome.metrics), calls


def both(tmp_path, task, *options):
    """What one worker learns, and what each of two learns."""
    return trained(tmp_path / "one", task, *options), together(2, trained, tmp_path / "two", task, *options)


def same(one, other):
    close = [torch.allclose(tensor, other[1][name], rtol=1e-5, atol=1e-6) for name, tensor in one[1].items()]
    return all(close) and all(
        found == pytest.approx(wanted, rel=1e-5) for found, wanted in zip(one[0], other[0], strict=True)
    )


@pytest.mark.parametrize(
    "task",
    ["toy_spoken", "toy_modulated", "toy_centred", "toy_borrower", "toy_balanced"],
)
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_learn_what_one_does(tmp_path, task, parallel):
    name, *options = task.split()
    one, two = both(tmp_path, name, *options, f"run.parallel={parallel}")
    assert all(same(one, each) for each in two)


@pytest.mark.parametrize(("task", "wrong"), [("toy_spoken", "uneven"), ("toy_modulated", "alone")])
def test_a_wrong_one_differs_between_one_worker_and_two(tmp_path, task, wrong):
    one, two = both(tmp_path, task, f"model.{wrong}=true", "training.optimizer.lr=0.1")
    assert not all(same(one, each) for each in two)


def test_a_mean_over_what_counts_is_that_of_all_of_it(tmp_path):
    """By hand: the first loss of a fresh model."""
    run = train("toy_spoken", tmp_path, *COMMON)
    task = build("toy_spoken", *COMMON)
    by_id = {task.splits["train"][i]["id"]: task.splits["train"][i] for i in range(21)}
    some = [by_id[name] for name in run.steps[0].ids]
    x, y, z = (torch.tensor([sample[field] for sample in some]) for field in ("x", "y", "z"))
    errors = (task.task.body(x) - y).square()[z > 0]
    assert float(run.steps[0].losses["main/spoken"]) == pytest.approx(float(errors.mean()), rel=1e-5)


def test_gradients_are_adjusted_once_a_step_before_they_are_clipped(tmp_path):
    options = ("training.clip_norm=1e-3", "training.optimizer.lr=1.0", "training.epochs=1")
    plain = train("toy_modulated", tmp_path / "plain", *COMMON, *options, "model.lessen=0.0")
    assert len(plain.assembly.task.calls) == len(plain.steps) == 3
    parts = train("toy_modulated", tmp_path / "parts", *COMMON, *options, "training.accumulate=3", "model.lessen=0.0")
    assert parts.assembly.task.calls == pytest.approx(plain.assembly.task.calls, rel=1e-4)
    before = build("toy_modulated", *COMMON, *options).task.state_dict()
    moved = sum(float((plain.weights()[name] - value).square().sum()) for name, value in before.items()) ** 0.5
    assert 0 < moved <= 3e-3 * 1.01, "three steps, each clipped after the gradients were adjusted"


def test_what_is_not_learnt_from_gradients_is_in_the_checkpoint_and_done_once(tmp_path):
    options = ("training.epochs=3", "model.furthest=2.0")
    whole = train("toy_centred", tmp_path / "whole", *COMMON, *options)
    centre = whole.assembly.task.centre
    split = whole.assembly.splits["train"]
    x = {split[i]["id"]: torch.tensor(split[i]["x"]) for i in range(21)}
    mean = torch.stack(list(x.values())).mean(0)
    torch.testing.assert_close(centre.mean, mean)
    assert int(centre.calls) == 1
    near = {name for name, value in x.items() if (value - mean).norm() <= 2.0}
    assert 7 <= len(near) < 21
    assert {name for step in whole.steps for name in step.ids} <= near
    assert len(whole.steps) == 3 * (len(near) // 7)
    assert float(centre.error) == pytest.approx(whole.outcome.metrics["error"])


def test_a_prepared_stage_resumes_with_the_samples_that_were_chosen(tmp_path):
    options = (*COMMON, "training.epochs=3", "model.furthest=2.0", "training.checkpoints.steps=1")
    whole = train("toy_centred", tmp_path / "whole", *options)

    class Stop:
        from sensorium import hookimpl

        @hookimpl
        def sensorium_step_finished(self, step):
            if step.number == 2:
                raise RuntimeError("power")

    with pytest.raises(RuntimeError, match="power"):
        train("toy_centred", tmp_path / "cut", *options, events=lambda assembly: Stop())
    again = train("toy_centred", tmp_path / "cut", *options)
    assert again.steps[0].number > 1
    expected = {step.number: list(step.ids) for step in whole.steps}
    assert all(list(step.ids) == expected[step.number] for step in again.steps)
    assert all(torch.equal(value, whole.weights()[name]) for name, value in again.weights().items())


def test_a_task_that_is_not_trained_is_evaluated_and_answers_one_at_a_time(tmp_path):
    run = train("toy_inverted", tmp_path)
    assert run.outcome.metrics["error"] < 1e-3
    assert run.steps == []
    predictor = Predictor.load(run.outcome.model)
    wanted = [{"y": [value]} for value in (2.0, -5.0, 0.5)]
    answers = predictor(wanted)
    assert set(predictor.model.task.sizes) == {1}
    rule = torch.tensor([1.0, -2.0, 0.5, 3.0])
    for question, answer in zip(wanted, answers, strict=True):
        assert float(torch.tensor(answer["x"]) @ rule) + 1 == pytest.approx(question["y"][0], abs=0.05)
    assert answers == [predictor([each])[0] for each in wanted]


def test_minimising_leaves_networks_as_they_are_and_samples_apart():
    torch.manual_seed(0)
    network = torch.nn.Linear(DIM, 1)
    weights = network.weight.detach().clone()
    start = torch.randn(3, DIM)

    def loss(value):
        return network(value).square()[:, 0]

    with torch.no_grad():
        found = minimise(start, loss, steps=100, lr=0.1)
        alone = minimise(start[1:2], loss, steps=100, lr=0.1)
    assert float(loss(found).max()) < 1e-3 < float(loss(start).max())
    assert torch.equal(network.weight, weights)
    assert network.weight.grad is None
    torch.testing.assert_close(found[1:2], alone, rtol=1e-5, atol=1e-6)
    assert torch.equal(minimise(start, loss, steps=0, lr=0.1), start)


def test_a_task_builds_on_the_encoder_of_another_by_its_field():
    task = build("toy_borrower", "model.lender=toy_lender").task
    assert task.lender.encoder_of("x") is task.lender.eye
    with pytest.raises(UserError, match="Regression lends no encoder of 'x'"):
        build("toy_borrower", "model.lender=toy_regression")
    with pytest.raises(UserError, match="Lender lends no encoder of 'w'"):
        build("toy_borrower", "model.lender=toy_lender", "model.field=w")


def test_raw_samples_become_a_batch_as_in_evaluation():
    task = build("toy_regression", "modalities.x.sigma=5.0").task
    batch = task.batched([{"x": [1.0, 2.0, 3.0, 4.0]}, {"x": [0.0, 0.0, 0.0, 1.0]}])
    assert batch.ids == ["0", "1"]
    assert batch["x"].tolist() == [[1.0, 2.0, 3.0, 4.0], [0.0, 0.0, 0.0, 1.0]]
    assert "y" not in batch


def test_raw_samples_that_lie_over_a_picture_become_a_batch_where_the_picture_is_seen():
    built = build("toy_pointing")
    raw = [{name: built.splits["test"][place][name] for name in ("image", "boxes")} for place in range(3)]
    batch = built.task.batched(raw)
    wanted = batch_of(built.splits["test"], Source("", range(3)), built.modalities, range(3))
    assert torch.equal(batch["boxes"].data, wanted["boxes"].data)
    assert batch["boxes"].data[..., :4].max() <= 64, "of the picture as it is seen, 48 x 64, not as it was given"
    with pytest.raises(UserError, match="'boxes' lies over 'image', which is not there"):
        built.task.batched([{"boxes": raw[0]["boxes"]}])
