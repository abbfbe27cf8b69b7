import pytest

from gloo import together
from sensorium import hookimpl
from sensorium.contracts import workers
from sensorium.contracts.run import Run
from sensorium.training.execution import execute
from training import build

OPTIONS = ("training.epochs=3", "training.checkpoints.epochs=9", "training.checkpoints.keep=9")


class TeacherForced:
    """Is told after a step that rank 1's machine will go, when that is its own."""

    def __init__(self, after):
        self.after, self.told = after, False

    @hookimpl
    def sensorium_step_finished(self, run, step):
        self.told = run.rank == 1 and step.number >= self.after


def saved_steps(folder, after):
    assembly, told, saved = build("toy_regression", *OPTIONS), TeacherForced(after), []
    assembly.loaded.plugins.manager.register(told)
    run = Run("noticed", str(folder), assembly.loaded.plain(), 0, workers.rank(), workers.size())
    execute(assembly, run, saved.append, lambda: told.told)
    return saved


@pytest.mark.parametrize(("after", "saved"), [(5, 7), (6, 9), (99, None)])  # an epoch has four steps
def test_all_workers_save_once_at_the_same_step_when_one_is_told(after, saved, tmp_path):
    expected = [12] if saved is None else [saved, 12]
    assert together(2, saved_steps, tmp_path, after) == [expected, expected]
