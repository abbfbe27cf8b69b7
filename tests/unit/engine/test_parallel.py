import contextlib
from pathlib import Path

import pytest
import torch

from gloo import together
from sensorium import hookimpl
from sensorium.engine.checkpoint import open_checkpoint
from training import train

ADAM = ("training.optimizer.name=adamw", "training.optimizer.lr=0.05", "training.optimizer.weight_decay=0.1")
TASKS = {
    "regression": ("toy_regression", "model.norm=true"),
    "a scalar that is learnt": ("toy_pairs", "model.loss=infonce"),
    "a game": ("toy_gan",),
    "two stages": ("toy_distillation",),
    "in parts": ("toy_pairs", "model.loss=siglip", "training.accumulate=3"),
    "bfloat16": ("toy_regression", "training.precision=bf16"),
}
COMMON = ("dataset.train=21", "training.global_batch=7", "evaluation.epochs=1", *ADAM)


def every_task(folder, *parallel):
    results = {}
    for name, (task, *options) in TASKS.items():
        trained = train(task, Path(folder) / name, *COMMON, *options, *parallel)
        losses = [{term: float(value) for term, value in step.losses.items()} for step in trained.steps]
        held = sum(
            parameter.to_local().numel() if hasattr(parameter, "to_local") else parameter.numel()
            for parameter in trained.assembly.task.parameters()
        )
        results[name] = losses, trained.weights(), trained.outcome.metrics, held
    return results


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    return {kind: tmp_path_factory.mktemp(kind) for kind in ("ddp", "fsdp")}


@pytest.fixture(scope="module")
def copied(folders):
    return together(2, every_task, folders["ddp"], "run.parallel=ddp")


@pytest.fixture(scope="module")
def cut(folders):
    return together(2, every_task, folders["fsdp"], "run.parallel=fsdp")


@pytest.mark.parametrize("name", TASKS)
def test_shards_learn_what_copies_learn(name, copied, cut):
    for one, other in zip(copied, cut, strict=True):
        (losses, weights, metrics, _), (expected, right, figures, _) = one[name], other[name]
        assert len(losses) == len(expected) == (12 if name == "two stages" else 6)
        rel = 1e-5 if name != "bfloat16" else 1e-3
        for found, wanted in zip(losses, expected, strict=True):
            assert found == pytest.approx(wanted, rel=rel, abs=1e-6)
        for key, tensor in right.items():
            torch.testing.assert_close(weights[key], tensor, rtol=100 * rel, atol=10 * rel)
        assert metrics == pytest.approx(figures, rel=100 * rel)
    scalars = sum(tensor.ndim == 0 for tensor in cut[0][name][1].values())
    assert sum(worker[name][3] for worker in cut) <= copied[0][name][3] + scalars


@pytest.mark.parametrize("name", TASKS)
def test_what_shards_save_is_whole_and_loads_in_one_process(name, cut, folders):
    _, weights, metrics, _ = cut[0][name]
    folder = folders["fsdp"] / name
    saved = open_checkpoint(folder / "model").tensors("model")
    assert saved.keys() == weights.keys()
    assert all(torch.equal(saved[key], weights[key]) for key in saved)
    task, *options = TASKS[name]
    again = train(task, folder, *COMMON, *options)
    assert again.steps == []
    assert again.outcome.metrics == pytest.approx(metrics, rel=1e-5)


class Trip:
    @hookimpl
    def sensorium_step_finished(self, step):
        if step.number == 5:
            raise RuntimeError("tripped")


def tripped_and_not(folder):
    options = (*COMMON, "model.loss=infonce", "run.parallel=fsdp", "training.checkpoints.steps=2")
    with contextlib.suppress(RuntimeError):
        train("toy_pairs", folder / "tripped", *options, events=lambda assembly: Trip())
    again = train("toy_pairs", folder / "tripped", *options)
    right = train("toy_pairs", folder / "right", *options)
    return again.steps[0].number, again.weights(), right.weights()


def test_shards_go_on_where_they_stopped(tmp_path):
    for first, weights, right in together(2, tripped_and_not, tmp_path):
        assert first in (3, 5)
        assert all(torch.equal(weights[name], tensor) for name, tensor in right.items())
