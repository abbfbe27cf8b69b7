"""SoundNet learns from pictures what sounds mean; `criteria.yaml` holds the controls."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from training import weights_of

pytestmark = pytest.mark.learn

WORLD = "dataset={name: digits_av, source: digits, train: 600, held_out: 150}"
BRIEF = (
    WORLD,
    "model.network.width=0.25",
    "training.global_batch=32",
    "training.stages.student.epochs=4",
    "training.stages.classifier.epochs=8",
    "evaluation={plots: false}",
)


def teacher(target):
    """Returns the option of a teacher that knows one label of the pictures."""
    return weights_of(
        "recognition",
        WORLD,
        f"modalities={{image: {{name: image, size: 16, rotate: 10, shift: 0.06}}, {target}: label}}",
        "model.encoder={name: convnet, widths: [16, 32], dim: 64, pool: flatten}",
        f"model.targets=[{target}]",
        "model.metrics=[accuracy]",
        "training.epochs=5",
        "training.global_batch=32",
    )


def test_sounds_are_recognised_by_what_pictures_taught(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    teachers = (f"model.object={teacher('label')}", f"model.scene={teacher('speaker')}")
    assembly = assemble(load("soundnet", [*BRIEF, *teachers]))
    found = execute(assembly, runs.create(assembly, {})).metrics
    assert found["object_accuracy"] >= 0.25
    assert found["pool5_accuracy"] >= 0.25
