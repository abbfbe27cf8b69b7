"""A short training: the discriminator tells right sentences from wrong ones; `criteria.yaml` holds the controls."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from single_digits import CLIP, JUDGE, WORLD
from training import weights_of

pytestmark = pytest.mark.learn


def test_pictures_have_the_colour_that_is_asked_for_and_differ(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = (
        *WORLD,
        f"model.clip={weights_of(*CLIP)}",
        f"model.judge={weights_of(*JUDGE)}",
        "model.width=16",
        "training.stages.gan.epochs=8",
    )
    assembly = assemble(load("text2image", short))
    found = execute(assembly, runs.create(assembly, {})).metrics
    assert found["judge_colour"] >= 0.85
    assert found["match_auc"] >= 0.7
    assert found["diversity"] >= 0.3
