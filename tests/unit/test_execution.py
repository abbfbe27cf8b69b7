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
    with spare_core():
        assert torch.get_num_threads() == left
    assert torch.get_num_threads() == 4


def test_what_the_user_says_of_threads_is_left_alone(threads, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with spare_core():
        assert torch.get_num_threads() == 4


def test_a_training_leaves_one_and_takes_it_back_for_the_evaluation(threads, monkeypatch, tmp_path):
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

    train("toy_regression", tmp_path, "training.epochs=1", events=lambda assembly: Threads())
    assert taken == {"step": 1, "evaluation": 4}
