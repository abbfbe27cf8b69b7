"""How many threads torch takes in a training."""

import pytest
import torch

from sensorium import SensoriumError, UserError, hookimpl
from sensorium.engine.checkpoint import open_checkpoint
from training import train


@pytest.mark.parametrize("reading", [3, 0])
def test_torch_keeps_all_its_threads_whoever_reads(reading, tmp_path):
    before, taken = torch.get_num_threads(), {}
    torch.set_num_threads(4)

    class Threads:
        @hookimpl
        def sensorium_step_finished(self):
            taken["step"] = torch.get_num_threads()

        @hookimpl
        def sensorium_evaluated(self):
            taken["evaluation"] = torch.get_num_threads()

    try:
        train("toy_regression", tmp_path, "training.epochs=1", f"run.threads={reading}", events=lambda _: Threads())
    finally:
        torch.set_num_threads(before)
    assert taken == {"step": 4, "evaluation": 4}


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
