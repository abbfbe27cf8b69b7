"""SoundNet learns from pictures what sounds mean, and learns nothing from pictures of something else."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = pytest.mark.learn

BRIEF = (
    "dataset.train=1000",
    "dataset.held_out=200",
    "model.network.width=0.25",
    "training.global_batch=32",
    "training.stages.object.epochs=6",
    "training.stages.student.epochs=8",
    "training.stages.classifier.epochs=60",
)


def figures(tmp_path, monkeypatch, *overrides):
    """Returns what is reached on takes and handwriting that the training has not seen."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("soundnet", [*BRIEF, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics


def test_sounds_are_recognised_by_what_pictures_taught(tmp_path, monkeypatch):
    found = figures(tmp_path, monkeypatch)
    assert found["object_accuracy"] >= 0.6
    assert found["pool5_accuracy"] >= 0.5


def test_shuffled_pairs_teach_nothing(tmp_path, monkeypatch):
    found = figures(tmp_path, monkeypatch, "dataset.shuffle_pairs=true")
    assert found["object_accuracy"] < 0.25
