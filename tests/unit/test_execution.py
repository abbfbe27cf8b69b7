"""How many threads torch takes in a training."""

import pytest
import torch

from sensorium import hookimpl
from sensorium.execution import spare_core
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
