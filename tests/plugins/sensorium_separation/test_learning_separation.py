"""Separation follows the faces; without them nothing says whose voice is whose."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = pytest.mark.learn

BRIEF = (
    "dataset.train=600",
    "dataset.held_out=60",
    "training.epochs=8",
    "run.seed=1",  # with others the faces are heeded an epoch earlier or later
    "evaluation.contributions=false",
)


def reached(tmp_path, monkeypatch, *overrides):
    """Returns what is reached on recordings that the training has not heard."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("separation", [*BRIEF, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics


def test_each_face_brings_its_voice(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch)
    assert found["si_sdri"] >= 3
    assert found["right"] >= 0.8
    assert found["other_face_si_sdri"] < -1


def test_without_faces_nothing_is_separated(tmp_path, monkeypatch):
    assert reached(tmp_path, monkeypatch, "model.blind=true")["si_sdri"] <= 1
