"""A short training: the discriminator tells right sentences from wrong ones, which two controls do not."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = [pytest.mark.learn, pytest.mark.timeout(600)]

SHORT = [
    "evaluation.contributions=false",
    "dataset.train=2000",
    "dataset.held_out=300",
    "dataset.cell=8",
    "modalities.image.size=8",
    "model.width=16",
    "training.stages.clip.epochs=4",
    "training.stages.judge.epochs=4",
    "training.stages.gan.epochs=8",
]


def trained(tmp_path, monkeypatch, *overrides):
    """Returns the figures of a training of a minute."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("text2image", [*SHORT, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics


def test_pictures_have_the_colour_that_is_asked_for_and_differ(tmp_path, monkeypatch):
    figures = trained(tmp_path, monkeypatch)
    assert figures["judge_colour"] >= 0.6
    assert figures["match_auc"] >= 0.75
    assert figures["diversity"] >= 0.3


def test_a_blind_discriminator_lets_anything_be_drawn(tmp_path, monkeypatch):
    figures = trained(tmp_path, monkeypatch, "model.blind=true")
    assert figures["judge_digit"] <= 0.25
    assert figures["judge_colour"] <= 0.4
    assert 0.4 <= figures["match_auc"] <= 0.6
