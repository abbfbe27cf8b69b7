"""A run that is killed and resumed ends as if nothing had happened."""

import hashlib
import json
import os
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest
import torch

from gloo import alone, together
from sensorium import hookimpl
from sensorium.engine import checkpoint
from sensorium.engine.checkpoint import open_checkpoint
from toys import Ids
from training import train

COMMON = (
    "dataset.train=37",
    "training.global_batch=8",
    "training.epochs=4",
    "training.schedule={name: cosine, warmup: 0.1}",
    "training.checkpoints.steps=3",
    "evaluation.epochs=1",
    "modalities.x.sigma=0.5",
    "run.threads=3",
)
ADAM = ("training.optimizer={name: adamw, lr: 0.05, weight_decay: 0.1}",)
MOMENTUM = ("training.optimizer={name: sgd, lr: 0.05, options: {momentum: 0.9}}",)
RUNS = {
    "AdamW, dropout, batch normalisation": ("toy_regression", *ADAM, "model.dropout=0.3", "model.norm=true"),
    "momentum, in parts": ("toy_regression", *MOMENTUM, "model.dropout=0.3", "training.accumulate=3"),
    "a learnt temperature": ("toy_pairs", *ADAM, "model.loss=infonce"),
    "two objectives": ("toy_gan", *ADAM),
    "two stages": ("toy_distillation", *MOMENTUM, "training.epochs=2"),
}


class Killer:
    """Ends the process after a step: while a checkpoint is being written if told so, else when none is."""

    def __init__(self, step, writing):
        self.step, self.writing = step, writing

    @hookimpl
    def sensorium_step_finished(self, step):
        if step.number == self.step:
            if self.writing is not None:
                assert self.writing.wait(20), "no checkpoint is being written"
            else:
                [thread.join() for thread in threading.enumerate() if thread.name == "checkpoint"]
            os.kill(os.getpid(), signal.SIGKILL)


def half_written(after):
    """Makes the writing of checkpoints hang in the middle of a file; returns the event of it."""
    writing, real, count = threading.Event(), checkpoint.save_file, []

    def slow(tensors, path):
        real(tensors, path)
        count.append(path)
        if len(count) == 2 * after:  # each has two files of tensors
            content = Path(path).read_bytes()
            Path(path).write_bytes(content[: len(content) // 2])
            writing.set()
            threading.Event().wait()

    checkpoint.save_file = slow
    return writing


def execute(name, folder, *more, kill=0, torn=0):
    """Trains to the end, or until it is killed; returns the steps that it did."""
    writing = half_written(torn) if torn else None

    def events(assembly):
        assembly.loaded.plugins.manager.register(Ids())
        return Killer(kill, writing)

    task, *options = RUNS[name]
    return [step.number for step in train(task, folder, *COMMON, *options, *more, events=events).steps]


def killed(name, folder, *more, kill, torn=0):
    assert alone(_killed, name, folder, more, kill, torn) == -signal.SIGKILL


def _killed(name, folder, more, kill, torn):
    execute(name, folder, *more, kill=kill, torn=torn)


def samples(folder):
    """Step -> ids that it used, over all workers; for steps done twice, those of the last time."""
    lines = [line for path in folder.glob("ids-*.jsonl") for line in path.read_text().splitlines()]
    records = sorted(map(json.loads, lines), key=lambda record: record["at"])
    last = {record["step"]: record["execution"] for record in records}
    used = {step: {} for step in sorted(last)}
    for record in records:
        if record["execution"] == last[record["step"]]:
            used[record["step"]][record["rank"]] = record["ids"]
    return {step: Counter(sample for ids in ranks.values() for sample in ids) for step, ranks in used.items()}


def weights(folder):
    return open_checkpoint(folder / "model").tensors("model")


def assert_same(folder, undisturbed):
    assert samples(folder) == samples(undisturbed)
    assert list(samples(folder)) == list(range(1, 17))
    expected = weights(undisturbed)
    for name, tensor in weights(folder).items():
        assert torch.equal(tensor, expected[name]), f"{name} differs by {(tensor - expected[name]).abs().max()}"
    metrics = [open_checkpoint(path / "model").document("metrics") for path in (folder, undisturbed)]
    assert metrics[0] == metrics[1]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Sums come out the same to the last bit on the same number of threads; workers have one."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def undisturbed(one_thread, tmp_path_factory):
    folders = {}
    for name in RUNS:
        folders[name] = tmp_path_factory.mktemp("undisturbed")
        assert execute(name, folders[name]) == list(range(1, 17))
    return folders


@pytest.mark.parametrize("name", RUNS)
def test_a_run_killed_again_and_again_ends_bit_for_bit_the_same(name, undisturbed, tmp_path):
    killed(name, tmp_path, kill=2)  # before there is any checkpoint
    killed(name, tmp_path, kill=7)  # in the middle of an epoch
    killed(name, tmp_path, kill=13, torn=3)  # while a checkpoint is being written
    assert [path.suffix for path in (tmp_path / "checkpoints").glob(".*")] == [".partial"]
    steps = execute(name, tmp_path)
    assert (steps[0], steps[-1]) == (10, 16)
    assert not list((tmp_path / "checkpoints").glob(".*"))
    assert_same(tmp_path, undisturbed[name])


def test_the_first_checkpoint_torn_is_a_fresh_start(undisturbed, tmp_path):
    name = "momentum, in parts"
    killed(name, tmp_path, kill=4, torn=1)
    assert execute(name, tmp_path)[0] == 1
    assert_same(tmp_path, undisturbed[name])


def test_a_checkpoint_that_rots_costs_the_steps_since_the_one_before(undisturbed, tmp_path):
    name = "AdamW, dropout, batch normalisation"
    killed(name, tmp_path, kill=11)
    places = sorted((tmp_path / "checkpoints").glob("step-*"))
    path = places[-1] / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    assert execute(name, tmp_path)[0] == int(places[-2].name[-8:]) + 1
    assert_same(tmp_path, undisturbed[name])


def test_a_run_killed_in_its_second_stage_leaves_the_first_alone(undisturbed, tmp_path):
    killed("two stages", tmp_path, kill=11)
    teacher = {n: t for n, t in weights_at(tmp_path, -1).items() if n.startswith("teacher")}
    assert execute("two stages", tmp_path)[0] == 10
    assert_same(tmp_path, undisturbed["two stages"])
    assert all(torch.equal(weights(tmp_path)[name], tensor) for name, tensor in teacher.items())


def weights_at(folder, place):
    return open_checkpoint(sorted((folder / "checkpoints").glob("step-*"))[place]).tensors("model")


def test_to_resume_what_is_finished_changes_nothing(undisturbed):
    for name, folder in undisturbed.items():
        before = digests(folder)
        assert execute(name, folder) == []
        assert digests(folder) == before


def digests(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def close(folder, undisturbed):
    assert samples(folder) == samples(undisturbed)
    expected = weights(undisturbed)
    for name, tensor in weights(folder).items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["a learnt temperature", "two objectives"])
def test_a_run_goes_on_with_more_or_fewer_workers(name, undisturbed, tmp_path):
    grown, shrunk = tmp_path / "grown", tmp_path / "shrunk"
    killed(name, grown, kill=7)
    for steps in together(2, execute, name, grown):
        assert (steps[0], steps[-1]) == (7, 16)
    close(grown, undisturbed[name])
    with pytest.raises(AssertionError, match="it died"):
        together(2, _killed, name, shrunk, (), 7, 0)
    assert execute(name, shrunk)[0] == 7
    close(shrunk, undisturbed[name])


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_workers_that_are_killed_end_bit_for_bit_the_same(parallel, tmp_path):
    name, option = "AdamW, dropout, batch normalisation", f"run.parallel={parallel}"
    with pytest.raises(AssertionError, match="it died"):
        together(2, _killed, name, tmp_path / "killed", (option,), 7, 0)
    for folder in ("killed", "undisturbed"):
        together(2, execute, name, tmp_path / folder, option)
    assert_same(tmp_path / "killed", tmp_path / "undisturbed")
