"""The running mean of the weights: by hand, in evaluation and model, and over a restart."""

import pytest
import torch
from torch import nn

from gloo import together
from sensorium import UserError, hookimpl
from sensorium.assembly.build import load_model
from sensorium.engine.average import Average
from training import build, train

SHORT = ["training.epochs=3", "training.average=0.9"]


def test_the_mean_by_hand():
    layer = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        layer.weight.fill_(0.0)
    average = Average(dict(layer.named_parameters()), 0.5)
    means = []
    for steps, weight in ((1, 8.0), (2, 4.0), (20, 2.0)):
        with torch.no_grad():
            layer.weight.fill_(weight)
        average.update(steps)
        means.append(average.means["weight"].item())
    first = 0.1 * 0 + 0.9 * 8  # a share of 1/10 stays after the first step, 2/11 after the second
    second = 2 / 11 * first + 9 / 11 * 4
    assert means == pytest.approx([first, second, 0.5 * second + 0.5 * 2])


def test_the_model_bears_the_means_only_while_they_are_used():
    layer = nn.Linear(1, 1, bias=False)
    average = Average(dict(layer.named_parameters()), 0.5)
    before, mean = layer.weight.item(), 7.0
    average.means["weight"].fill_(mean)
    with average.used():
        assert layer.weight.item() == mean
    assert layer.weight.item() == before
    assert average.means["weight"].item() == mean
    average.settle()
    assert layer.weight.item() == mean


def test_evaluation_and_model_use_the_means(tmp_path):
    plain = train("toy_regression", tmp_path / "plain", "training.epochs=3")
    averaged = train("toy_regression", tmp_path / "averaged", *SHORT)
    losses = [[float(v) for step in run.steps for v in step.losses.values()] for run in (plain, averaged)]
    assert losses[0] == losses[1], "the training itself takes no notice"
    assert plain.outcome.metrics["error"] != averaged.outcome.metrics["error"]
    stored = load_model(tmp_path / "averaged" / "model").task.state_dict()
    for name, tensor in averaged.weights().items():
        assert torch.equal(tensor, stored[name])


class StopError(Exception):
    pass


class Stopper:
    @hookimpl
    def sensorium_step_finished(self, step):
        if step.number == 6:
            raise StopError


def test_a_restart_changes_nothing(tmp_path):
    often = [*SHORT, "training.checkpoints.steps=1"]
    whole = train("toy_regression", tmp_path / "whole", *often)
    with pytest.raises(StopError):
        train("toy_regression", tmp_path / "torn", *often, events=lambda assembly: Stopper())
    again = train("toy_regression", tmp_path / "torn", *often)
    assert len(again.steps) < len(whole.steps)
    for name, tensor in whole.weights().items():
        assert torch.equal(tensor, again.weights()[name]), name


def test_shards_have_the_same_mean(tmp_path):
    expected = train("toy_regression", tmp_path / "one", *SHORT).weights()
    for found in together(2, sharded, str(tmp_path / "two")):
        for name, tensor in expected.items():
            torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-6)


def sharded(folder):
    return train("toy_regression", folder, *SHORT, "run.workers=2", "run.parallel=fsdp").weights()


def test_a_decay_of_one_is_refused():
    with pytest.raises(UserError, match=r"average must lie in \[0, 1\)"):
        build("toy_regression", "training.average=1.0")
