"""How many threads torch takes in a training."""

import pytest
import torch

from sensorium import SensoriumError, UserError, hookimpl
from sensorium.engine.checkpoint import open_checkpoint
from sensorium.training.execution import spare_core
from training import train


@pytest.fixture
def threads():
    """Restores torch's threads, of which there are four meanwhile."""
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("cores", "left"), [(8, 4), (4, 3), (2, 1), (1, 1), (None, 1)])
def test_a_core_is_left_to_those_that_read(cores, left, threads, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    with spare_core(True):
        assert torch.get_num_threads() == left
    assert torch.get_num_threads() == 4
    with spare_core(False):
        assert torch.get_num_threads() == 4, "nobody reads"


def test_what_the_user_says_of_threads_is_left_alone(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with spare_core(True):
        assert torch.get_num_threads() == 4


@pytest.mark.parametrize(("reading", "torchs"), [(4, 1), (0, 4)])
def test_a_training_leaves_one_and_takes_it_back_for_the_evaluation(reading, torchs, threads, monkeypatch, tmp_path):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    taken = {}

    class Threads:
        @hookimpl
        def sensorium_step_finished(self):
            taken["step"] = torch.get_num_threads()

        @hookimpl
        def sensorium_evaluated(self):
            taken["evaluation"] = torch.get_num_threads()

    options = ("training.epochs=1", f"run.threads={reading}")
    train("toy_regression", tmp_path, *options, events=lambda assembly: Threads())
    assert taken == {"step": torchs, "evaluation": 4}


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (ZeroDivisionError("by zero"), "ZeroDivisionError: by zero."),
        (UserError("There is no label 'x'."), "There is no label 'x'."),
    ],
)
def test_what_fails_after_the_training_leaves_the_model_written_and_named(fault, told, tmp_path, monkeypatch):
    def metrics(self, rows):
        raise fault

    monkeypatch.setattr("toys.Regression.metrics", metrics)
    with pytest.raises(SensoriumError, match="The training is done, but its result cannot be measured") as caught:
        train("toy_regression", tmp_path)
    assert type(caught.value) is (UserError if isinstance(fault, UserError) else SensoriumError)
    place = f"The trained model lies in {tmp_path}/model."
    for part in (told, "cannot be measured on test", place, "sensorium evaluate"):
        assert part in str(caught.value)
    monkeypatch.undo()
    again = train("toy_regression", tmp_path / "again")
    kept, whole = (open_checkpoint(folder) for folder in (tmp_path / "model", tmp_path / "again" / "model"))
    assert kept.document("metrics") == {}
    assert whole.document("metrics") == again.outcome.metrics
    for name, tensor in whole.tensors("model").items():
        assert torch.equal(kept.tensors("model")[name], tensor)
