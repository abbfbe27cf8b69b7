"""How far an experiment is cut down for a check: about as many steps of each stage, or what `probe` sets."""

import pytest

from sensorium.conformance import learning
from sensorium.conformance.learning import STEPS, Trial, assembled
from sensorium.plugins import Plugins

TOYS = Plugins(("toys",))
LOSS = "model={loss: infonce}"


@pytest.mark.parametrize("kept", [None, STEPS + 7])
def test_a_stage_lasts_about_a_hundred_steps_or_as_long_as_its_probe_says(kept, monkeypatch):
    whole = assembled("toy_pairs", TOYS, LOSS)
    (stage,) = (each.name for each in whole.task.stages())
    probe = {"model": {"loss": "infonce"}, "training.epochs": 1000} | (
        {} if kept is None else {f"training.stages.{stage}.epochs": kept}
    )
    monkeypatch.setattr(type(whole.task), "probe", probe)
    taken = []
    monkeypatch.setattr(learning, "execute", lambda part, run: taken.append(part))
    Trial(whole, "toy_pairs", TOYS).train(shuffled=False)
    training, split = taken[0].loaded.experiment.training, taken[0].splits["train"]
    epochs = training.plan(stage).epochs
    if kept is None:
        steps = epochs * (len(split) // training.plan(stage).global_batch)
        assert STEPS <= steps < 2 * STEPS
    else:
        assert epochs == kept
