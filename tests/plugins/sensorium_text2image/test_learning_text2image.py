"""A short training: the discriminator tells right sentences from wrong ones, which a blind one does not."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from single_digits import CLIP, JUDGE, WORLD
from training import weights_of

pytestmark = pytest.mark.learn


def reached(tmp_path, monkeypatch, *overrides):
    """Returns the metrics of a training of seconds."""
    monkeypatch.chdir(tmp_path)
    short = (
        *WORLD,
        f"model.clip={weights_of(*CLIP)}",
        f"model.judge={weights_of(*JUDGE)}",
        "model.width=16",
        "training.stages.gan.epochs=8",
    )
    assembly = assemble(load("text2image", [*short, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics


def test_pictures_have_the_colour_that_is_asked_for_and_differ(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch)
    assert found["judge_colour"] >= 0.85
    assert found["match_auc"] >= 0.7
    assert found["diversity"] >= 0.3


def test_a_blind_discriminator_lets_anything_be_drawn(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch, "model.blind=true")
    assert found["judge_colour"] <= 0.7
    assert 0.4 <= found["match_auc"] <= 0.6
