import itertools
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gloo import together
from sensorium import SensoriumError
from sensorium.contracts import workers
from sensorium.engine.loader import Loader
from sensorium.engine.settings import Optimizer
from sensorium.engine.step import Stepper, parameters_of
from training import build, train

STEP = ("dataset.train=13", "training.global_batch=13", "training.epochs=1", "training.clip_norm=null")
SGD = ("training.optimizer.name=sgd", "training.optimizer.lr=1.0")
LOSSES = {
    "infonce": ("toy_pairs", "model.loss=infonce"),
    "siglip": ("toy_pairs", "model.loss=siglip"),
    "triplet": ("toy_pairs", "model.loss=triplet"),
    "losses of each sample": ("toy_regression",),
    "a mean loss": ("toy_regression", "model.mean=true"),
    "batch normalisation": ("toy_regression", "model.norm=true"),
    "two objectives": ("toy_gan",),
}
CUTS = [1, 2, 3, 4]
EVERY_CUT = [(name, cut) for name in LOSSES for cut in CUTS if cut == 1 or name != "batch normalisation"]


def step(name, cut=1, *more):
    """Weights before and after one step of gradient descent, and the loss."""
    task, *options = LOSSES[name]
    options = (*STEP, *SGD, *options, f"training.accumulate={cut}", *more)
    before = build(task, *options).task.state_dict()
    with tempfile.TemporaryDirectory() as folder:
        trained = train(task, Path(folder), *options)
    after = trained.weights()
    losses = {name: float(value) for name, value in trained.steps[0].losses.items()}
    names = [name for name, _ in trained.assembly.task.named_parameters()]
    return {name: after[name] - before[name] for name in names}, losses


def every_step(cuts):
    return {(name, cut): step(name, cut) for name, cut in EVERY_CUT if cut in cuts}


def assert_same_step(one, other):
    (changes, losses), (expected, expected_losses) = one, other
    assert changes.keys() == expected.keys()
    joined = [torch.cat([tensor.flatten() for tensor in changes.values()]) for changes in (changes, expected)]
    assert (joined[0] - joined[1]).norm() < 1e-5 * joined[1].norm()
    assert losses == pytest.approx(expected_losses, rel=1e-5)


@pytest.fixture(scope="module")
def whole():
    return every_step([1])


@pytest.mark.parametrize(("name", "cut"), [pair for pair in EVERY_CUT if pair[1] > 1])
def test_a_batch_in_parts_gives_the_same_step(name, cut, whole):
    assert_same_step(step(name, cut), whole[name, 1])


@pytest.mark.parametrize(("size", "cuts"), [(2, CUTS), (4, [1, 3])])
def test_the_number_of_workers_changes_no_step(size, cuts, whole):
    answers = together(size, every_step, cuts)
    for answer in answers:
        for (name, _), found in answer.items():
            assert_same_step(found, whole[name, 1])


def test_every_step_moves_every_part(whole):
    for changes, _ in whole.values():
        assert all(change.abs().max() > 0 for name, change in changes.items() if "bias" not in name)


def test_gradients_of_unlike_workers():
    # Worker 1 never uses `spare`, worker 0 does; `body` is used by both, `never` by none.
    answers = together(2, unlike_workers)
    assert answers[0] == answers[1]
    assert answers[0] == {"spare": True, "never": False, "body": True}


def unlike_workers():
    assembly = build("toy_regression", *STEP, "model.spare=true")
    task = assembly.task
    task.never = torch.nn.Linear(2, 2)
    before = {name: tensor.clone() for name, tensor in task.state_dict().items()}

    def forward(batch):
        used = task.spare(batch["x"][:, :3]).sum(1, keepdim=True) if workers.rank() == 0 else 0
        return task.body(batch["x"]) + used

    objective = task.stages()[0].objectives[0]
    objective = type(objective)("main", ["body", "spare", "never"], forward, task.losses)
    stepper = Stepper(task, objective, assembly.work().training, Optimizer(name="sgd"), torch.device("cpu"))
    with Loader(assembly.splits["train"], assembly.modalities, 1) as loader:
        for batch in loader.stream([(0, [0, 1, 2]), (0, [3, 4, 5]), (0, [6, 7, 8])]):
            stepper.step(batch, 6, 1.0, 0)
    after = task.state_dict()
    together_now = {name: workers.gather_objects(tensor) for name, tensor in after.items()}
    assert all(torch.equal(*tensors) for tensors in together_now.values())
    return {
        part: any(not torch.equal(before[name], after[name]) for name in after if name.startswith(part))
        for part in ("spare", "never", "body")
    }


def test_unused_parameters_train_alike_on_any_number_of_workers():
    expected = step("losses of each sample", 1, "model.spare=true")
    assert not expected[0]["spare.weight"].any()
    for found in together(2, step, "losses of each sample", 2, "model.spare=true"):
        assert_same_step(found, expected)


def searches(steady, left_out):
    """Whether DDP searches before each step for what is left out, what the optimizer moved, and weights afterwards."""
    assembly = build("toy_regression", *STEP, "model.spare=true")
    task = assembly.task
    parts = ["body", "spare"] if left_out else ["body"]
    objective = replace(task.stages()[0].objectives[0], updates=parts, steady=steady)
    stepper = Stepper(task, objective, assembly.work().training, Optimizer(name="adamw"), torch.device("cpu"))
    found = []
    with Loader(assembly.splits["train"], assembly.modalities, 1) as loader:
        for batch in loader.stream([(0, [0, 1, 2]), (0, [3, 4, 5]), (0, [6, 7, 8])]):
            stepper.step(batch, 6, 1.0, 0)
            found.append(stepper.model.find_unused_parameters)
    return found, {name: tensor.tolist() for name, tensor in task.state_dict().items()}


def all_searches():
    return {pair: searches(*pair) for pair in itertools.product((False, True), repeat=2)}


def test_what_is_left_out_is_searched_for_where_it_may_be_alone():
    for found in together(2, all_searches):
        assert {pair: searched for pair, (searched, _) in found.items()} == {
            (False, False): [True, True, True],
            (False, True): [True, True, True],
            (True, False): [True, False, False],
            (True, True): [True, True, True],
        }
        assert len({str(weights) for _, weights in found.values()}) == 1, "spare is moved by none"


def clipped():
    return [step(name, 1, "training.clip_norm=0.5")[0] for name in ("losses of each sample", "two objectives")]


def test_clipping_takes_the_norm_of_all_gradients_of_an_objective_together(whole):
    def norm(changes, part=""):
        return torch.cat([tensor.flatten() for name, tensor in changes.items() if name.startswith(part)]).norm().item()

    assert norm(whole["losses of each sample", 1][0]) > 0.5
    for regression, game in [clipped(), *together(2, clipped)]:
        assert norm(regression) == pytest.approx(0.5, rel=1e-4)
        free = whole["two objectives", 1][0]
        for part in ("generator", "discriminator"):
            assert norm(game, part) == pytest.approx(min(0.5, norm(free, part)), rel=1e-3)


@pytest.mark.parametrize(("name", "cut"), [pair for pair in EVERY_CUT if pair[1] in (1, 3)])
def test_bfloat16_gives_nearly_the_same_step(name, cut, whole):
    changes, losses = step(name, cut, "training.precision=bf16")
    expected, expected_losses = whole[name, 1]
    joined = [torch.cat([tensor.flatten() for tensor in each.values()]) for each in (changes, expected)]
    assert 0 < (joined[0] - joined[1]).norm() < 0.1 * joined[1].norm()
    assert losses == pytest.approx(expected_losses, rel=0.03)
    assert {tensor.dtype for tensor in changes.values()} == {torch.float32}


@pytest.mark.parametrize("cut", [1, 3])
def test_float16_learns(cut, tmp_path):
    numbers = ("training.precision=fp16", f"training.accumulate={cut}", "training.optimizer.lr=0.05")
    trained = train("toy_regression", tmp_path, *numbers, "training.epochs=10")
    losses = [float(step.losses["main/square"]) for step in trained.steps]
    assert losses[-1] < losses[0] / 4


def test_dropout_follows_the_seed_of_the_step_alone():
    one, again = (step("losses of each sample", 1, "model.dropout=0.5") for _ in range(2))
    assert all(torch.equal(one[0][name], again[0][name]) for name in one[0])
    other = step("losses of each sample", 1, "model.dropout=0.5", "run.seed=1")
    assert not torch.equal(one[0]["body.0.weight"], other[0]["body.0.weight"])


def test_an_objective_that_updates_what_is_not_there_is_refused():
    task = build("toy_gan").task
    objective = task.stages()[0].objectives[0]
    with pytest.raises(SensoriumError, match=r"'generate' updates decoder, .*parts are generator, discriminator"):
        parameters_of(task, type(objective)("generate", ["generator", "decoder"], objective.forward, objective.losses))
