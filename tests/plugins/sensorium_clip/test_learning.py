"""CLIP learns real digits from captions, and learns nothing from captions dealt out at random."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = pytest.mark.learn

BRIEF = (
    "model.encoders={image: {name: convnet, widths: [16, 32], dim: 64},"
    " text: {name: text_transformer, dim: 32, depth: 1, heads: 4}}",
    "model.fusion.dim=32",
    "training.epochs=6",
    "training.global_batch=64",
    "evaluation={contributions: false, plots: false}",
)


def accuracy(tmp_path, monkeypatch, *overrides):
    """Returns the zero-shot accuracy on digits of writers that the training has not seen."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("clip", [*BRIEF, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics["zero_shot_accuracy"]


def test_digits_are_recognised_by_their_names(tmp_path, monkeypatch):
    assert accuracy(tmp_path, monkeypatch) >= 0.85


def test_shuffled_captions_teach_nothing(tmp_path, monkeypatch):
    assert accuracy(tmp_path, monkeypatch, "dataset.shuffle_captions=true") < 0.25
