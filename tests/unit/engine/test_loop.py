import math
from collections import Counter
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

from gloo import together
from sensorium import SensoriumError, UserError, hookimpl
from sensorium.engine.watch import NotFiniteError
from toys import Noisy, Regression
from training import build, train

FLAT = ("training.optimizer.name=sgd", "training.optimizer.lr=0.1", "training.clip_norm=null")


class Parts:
    """Remembers each part's state and modes after each step, buffers included."""

    def __init__(self, assembly):
        self.task, self.seen = assembly.task, []

    @hookimpl
    def sensorium_step_finished(self, step):
        self.seen.append((step.stage, snapshot(self.task)))


def snapshot(task):
    return {
        name: (
            {key: tensor.clone() for key, tensor in part.state_dict().items()},
            {module.training for module in part.modules()},
        )
        for name, part in task.named_children()
    }


def same(one, other):
    return all(torch.equal(one[0][name], tensor) for name, tensor in other[0].items())


def watched(task, folder, *options):
    parts = []
    trained = train(task, folder, *options, events=lambda assembly: parts.append(Parts(assembly)) or parts[0])
    return trained, parts[0].seen


# ---- stages and objectives -------------------------------------------------------------------


def frozen_teacher(folder):
    """What moved in which stage, and what was in training mode."""
    start = snapshot(build("toy_distillation").task)
    _, seen = watched("toy_distillation", folder, "evaluation.epochs=1")
    told = Counter()
    for (_, before), (stage, after) in zip([("", start), *seen], seen, strict=False):
        for part in ("teacher", "student"):
            told[stage, part, "moved" if not same(before[part], after[part]) else "still", *after[part][1]] += 1
    return dict(told)


def test_what_no_objective_names_does_not_change_by_a_bit_and_is_in_evaluation_mode(tmp_path):
    expected = {
        ("teacher", "teacher", "moved", True): 8,
        ("teacher", "student", "still", False): 8,
        ("student", "student", "moved", True): 8,
        ("student", "teacher", "still", False): 8,
    }
    assert frozen_teacher(tmp_path / "one") == expected
    assert together(2, frozen_teacher, tmp_path / "two") == [expected] * 2


def test_gradient_flows_through_what_is_frozen_but_not_into_it(tmp_path):
    trained = train("toy_distillation", tmp_path)
    assert all(parameter.grad is None for parameter in trained.assembly.task.teacher.parameters())


def test_the_task_itself_is_in_training_mode_while_it_trains(tmp_path, monkeypatch):
    modes, real = [], Regression.forward
    monkeypatch.setattr(Regression, "forward", lambda task, batch: modes.append(task.training) or real(task, batch))
    train("toy_regression", tmp_path, "training.epochs=1", "evaluation.epochs=1", "evaluation.contributions=false")
    # The assembly tries its objective, and two splits; four steps train it, two evaluations look at it.
    assert modes == [False, False, False, True, True, True, True, False, False]


def test_each_objective_of_a_game_updates_its_own_part_by_its_own_gradient(tmp_path):
    task = build("toy_gan").task
    _, seen = watched("toy_gan", tmp_path, *FLAT, "dataset.train=8", "training.epochs=1")
    assembly = build("toy_gan", "dataset.train=8")
    x, y = (torch.stack([torch.tensor(sample[name]) for sample in assembly.splits["train"]]) for name in "xy")

    def descend(loss, part):
        gradients = torch.autograd.grad(loss, list(part.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(part.parameters(), gradients, strict=True):
                parameter -= 0.1 * gradient

    softplus = torch.nn.functional.softplus
    descend(softplus(-task.discriminator(task.generator(x))).mean(), task.generator)
    made = task.discriminator(task.generator(x))  # by the generator as it is now
    descend((softplus(-task.discriminator(y)) + softplus(made)).mean(), task.discriminator)
    for part, (state, _) in seen[0][1].items():
        for name, tensor in task.get_submodule(part).state_dict().items():
            torch.testing.assert_close(state[name], tensor)


def test_stages_and_objectives_may_have_settings_of_their_own(tmp_path):
    trained = train(
        "toy_gan",
        tmp_path / "game",
        "training.optimizer.lr=0.5",
        'training.stages={"game": {"epochs": 1, "optimizers": {"generate": {"name": "sgd", "lr": 0.25}}}}',
    )
    assert [dict(step.learning_rates) for step in trained.steps] == [{"generate": 0.25, "discriminate": 0.5}] * 4
    assert set(trained.steps[0].losses) == {"generate/real", "discriminate/true", "discriminate/made"}
    line = '{"name": "linear", "warmup": 0.0, "final": 0.0}'
    trained = train(
        "toy_distillation",
        tmp_path / "stages",
        "training.epochs=1",
        "training.optimizer.lr=1.0",
        'training.stages={"student": {"epochs": 2, "optimizer": {"name": "sgd", "lr": 7.0}, "schedule": ' + line + "}}",
    )
    rates = [rate for step in trained.steps for rate in step.learning_rates.values()]
    assert rates[:4] == [1.0] * 4
    assert rates[4:] == pytest.approx([7 - step for step in range(8)])
    assert [step.stage for step in trained.steps] == ["teacher"] * 4 + ["student"] * 8
    assert [step.epoch for step in trained.steps] == [0] * 8 + [1] * 4


def test_stages_repeat_neither_an_order_nor_an_augmentation(tmp_path, monkeypatch):
    seeds, real = [], Noisy.transform

    def transform(modality, value, random):
        seeds.extend([random.initial_seed()] if random else [])
        return real(modality, value, random)

    monkeypatch.setattr(Noisy, "transform", transform)
    trained = train("toy_distillation", tmp_path, "training.epochs=2")
    assert len(seeds) == len(set(seeds)) == 4 * 32
    epochs = [[sample for step in trained.steps[start : start + 4] for sample in step.ids] for start in (0, 4, 8, 12)]
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert all(len(set(epoch)) == 32 for epoch in epochs)


def test_shards_are_read_a_window_at_a_time_where_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr("sensorium.engine.loop.shards_of", lambda split: np.arange(0, 33, 4))
    ids = [sample["id"] for sample in build("toy_regression").splits["train"]]
    options = ("training.epochs=2", "training.global_batch=8", "training.shuffle=blocks", "training.window=2")
    trained = train("toy_regression", tmp_path, *options)
    read = [sorted(ids.index(name) for name in step.ids) for step in trained.steps]
    assert len(read) == 8
    assert all(len({index // 4 for index in batch}) == 2 for batch in read)  # the two of a window, whole
    for epoch in (read[:4], read[4:]):
        assert sorted(index for batch in epoch for index in batch) == list(range(32))
    assert read[:4] != read[4:]


def test_a_batch_knows_how_far_the_stage_has_come(tmp_path, monkeypatch):
    seen, real = [], Regression.forward

    def forward(task, batch):
        seen.append((task.training, batch.progress))
        return real(task, batch)

    monkeypatch.setattr(Regression, "forward", forward)
    train("toy_regression", tmp_path, "training.epochs=2", "training.global_batch=8")
    assert [progress for trains, progress in seen if trains] == [step / 8 for step in range(8)]
    assert {progress for trains, progress in seen if not trains} == {1.0}


def test_cutting_the_batch_of_a_batch_norm_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"'body' has batch normalisation.*training\.accumulate=1"):
        train("toy_regression", tmp_path / "one", "model.norm=true", "training.accumulate=2")
    train("toy_regression", tmp_path / "other", "training.accumulate=2")


# ---- what a step tells -----------------------------------------------------------------------


def told(folder):
    trained = train("toy_regression", folder, "dataset.train=21", "training.global_batch=7", "training.epochs=1")
    losses = [{name: float(loss) for name, loss in step.losses.items()} for step in trained.steps]
    return losses, [list(step.ids) for step in trained.steps], {step.samples for step in trained.steps}


def test_a_step_tells_means_over_the_global_batch_and_this_workers_samples(tmp_path):
    losses, ids, samples = told(tmp_path / "one")
    assert samples == {7}
    (first, first_ids, _), (second, second_ids, samples) = together(2, told, tmp_path / "two")
    assert samples == {7}
    assert [a + b for a, b in zip(first_ids, second_ids, strict=True)] == ids
    for mine, theirs, expected in zip(first, second, losses, strict=True):
        assert mine == theirs == pytest.approx(expected, rel=1e-5)


# ---- losses that are not finite --------------------------------------------------------------

HUGE = ("dataset.huge=13", "training.checkpoints.steps=1", "evaluation.epochs=1")


def fails(folder, *options):
    with pytest.raises(NotFiniteError) as error:
        train("toy_regression", folder, *HUGE, *options)
    return str(error.value), error.value.step, error.value.ids


@pytest.mark.parametrize("options", [(), ("training.accumulate=2",)])
def test_a_loss_that_is_not_finite_ends_the_run_without_a_checkpoint_of_it(options, tmp_path):
    clean = train("toy_regression", tmp_path / "clean", "dataset.train=32")
    number = next(step.number for step in clean.steps if "train/13" in step.ids)
    answers = [fails(tmp_path / "one", *options), *together(2, fails, tmp_path / "two", *options)]
    for message, step, ids in answers:
        assert (step, ids) == (number, ["train/13"])
        assert f"'main/square' is not finite at step {number}, for the samples train/13" in message
    for folder in ("one", "two"):
        steps = sorted(int(path.name[-8:]) for path in (tmp_path / folder / "checkpoints").iterdir())
        assert steps == list(range(max(1, number - 2), number))
        assert not (tmp_path / folder / "model").exists()


def test_the_last_step_is_looked_at_too(tmp_path):
    clean = train("toy_regression", tmp_path / "clean", "training.epochs=1")
    for place in (clean.steps[-1].ids[0], clean.steps[-2].ids[0]):
        options = (f"dataset.huge={place.removeprefix('train/')}", "training.epochs=1", "evaluation.epochs=1")
        far = (*FLAT, "training.optimizer.lr=10.0")  # so that the weights become infinite as well
        with pytest.raises(NotFiniteError, match=place):  # not the figures, which cannot be computed
            train("toy_regression", tmp_path / place, *options, *far)


def test_a_failure_is_told_to_plugins(tmp_path):
    outcomes = []

    class Ends:
        @hookimpl
        def sensorium_run_finished(self, outcome):
            outcomes.append(outcome)

    with pytest.raises(NotFiniteError):
        train("toy_regression", tmp_path, *HUGE, events=lambda assembly: Ends())
    assert [outcome.status for outcome in outcomes] == ["failed"]
    assert "train/13" in outcomes[0].error


def test_a_broken_sample_ends_the_run_with_its_name(tmp_path):
    with pytest.raises(UserError, match=r"ample train/9, field 'x': 'oops' is not a vector"):
        train("toy_regression", tmp_path, "dataset.broken=9")


# ---- checkpoints and early stopping ----------------------------------------------------------


def test_checkpoints_come_every_so_many_epochs_and_steps_and_at_the_end_of_a_stage(tmp_path):
    epochs = ("training.epochs=5", "training.checkpoints.keep=9", "training.checkpoints.epochs=2")
    assert train("toy_regression", tmp_path / "epochs", *epochs).checkpoints == [8, 16, 20]
    steps = ("training.epochs=2", "training.checkpoints.steps=3", "training.checkpoints.epochs=9")
    assert train("toy_regression", tmp_path / "steps", *steps).checkpoints == [3, 6, 8]
    stages = ("training.epochs=1", "training.checkpoints.epochs=9")
    assert train("toy_distillation", tmp_path / "stages", *stages).checkpoints == [4, 8]


def test_the_hook_tells_of_whole_checkpoints_alone(tmp_path):
    seen = []

    class Looks:
        @hookimpl
        def sensorium_checkpoint_saved(self, checkpoint, step):
            seen.append((Path(checkpoint).name, (Path(checkpoint) / "manifest.json").is_file(), step))

    train("toy_regression", tmp_path, events=lambda assembly: Looks())
    assert seen == [("step-00000004", True, 4), ("step-00000008", True, 8)]


FIGURES = [math.nan, 3.0, 4.0, 2.0, 2.5, math.nan, 2.0, 9.0, 1.0]


class Script:
    """Gives each epoch the figure that is written down for it; may end the run before it is over."""

    def __init__(self, assembly, trip):
        self.step, self.trip, self.real = 0, trip, assembly.task.metrics
        assembly.task.metrics = self.metrics

    @hookimpl
    def sensorium_step_finished(self, step):
        self.step = step.number
        if step.number == self.trip:
            raise RuntimeError("tripped")

    def metrics(self, rows):
        return {**self.real(rows), "scripted": FIGURES[self.step // 4 - 1]}


def scripted(folder, *options, trip=0):
    rule = 'training.early_stopping={"metric": "scripted", "mode": "min", "patience": 3}'
    options = ("training.epochs=9", "evaluation.epochs=1", "training.checkpoints.steps=2", rule, *options)
    return train("toy_regression", folder, *options, events=lambda assembly: Script(assembly, trip))


def test_early_stopping_takes_the_best_and_stops_after_patience(tmp_path):
    trained = scripted(tmp_path / "stopped")
    # The fourth epoch was best; NaN and a figure as good as the best are no better.
    assert [evaluation.step for evaluation in trained.evaluations] == [4, 8, 12, 16, 20, 24, 28, 28]
    assert len(trained.steps) == 28
    assert trained.outcome.checkpoint.endswith("step-00000016")
    kept = sorted(path.name for path in (tmp_path / "stopped" / "checkpoints").iterdir())
    assert kept == ["step-00000016", "step-00000026", "step-00000028"]
    best = train("toy_regression", tmp_path / "best", "training.epochs=4")
    assert all(torch.equal(tensor, best.weights()[name]) for name, tensor in trained.weights().items())


@pytest.mark.parametrize("trip", [22, 26])
def test_the_position_of_early_stopping_survives_a_restart(trip, tmp_path):
    with pytest.raises(RuntimeError, match="tripped"):
        scripted(tmp_path, trip=trip)
    again = scripted(tmp_path)
    assert again.steps[0].number == trip - 1  # the save that was under way was waited for
    assert again.steps[-1].number == 28
    assert again.outcome.checkpoint.endswith("step-00000016")


def test_a_run_may_lie_on_remote_storage(tmp_path):
    remote = "memory://bucket/run"
    with pytest.raises(RuntimeError, match="tripped"):
        scripted(remote, trip=22)
    again, here = scripted(remote), scripted(tmp_path)
    assert again.steps[0].number == 21
    assert again.outcome.checkpoint == f"{remote}/checkpoints/step-00000016"
    assert again.outcome.metrics == here.outcome.metrics
    files = fsspec.filesystem("memory")
    assert files.cat_file("/bucket/run/model/model.safetensors") == (tmp_path / "model/model.safetensors").read_bytes()
    files.rm("/bucket", recursive=True)


def test_a_figure_that_is_not_there_is_named(tmp_path):
    rule = 'training.early_stopping={"metric": "eror"}'
    with pytest.raises(SensoriumError, match=r"'eror', which there is not\. Known: error, samples"):
        train("toy_regression", tmp_path, "evaluation.epochs=1", rule)


def test_no_epoch_at_all_measures_the_initial_weights(tmp_path):
    trained = train("toy_regression", tmp_path, "training.epochs=0")
    initial = build("toy_regression").task.state_dict()
    assert trained.steps == []
    assert all(torch.equal(tensor, initial[name]) for name, tensor in trained.weights().items())
    assert trained.outcome.metrics["samples"] == 10
