"""CLIP learns real digits from captions, and learns nothing from captions dealt out at random."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.inference.predictor import Predictor
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


def trained(tmp_path, monkeypatch, *overrides):
    """Returns how a training of seconds ends, measured on digits of writers that it has not seen."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("clip", [*BRIEF, *overrides]))
    return execute(assembly, runs.create(assembly, {}))


def test_digits_are_recognised_by_their_names_and_moved_by_words(tmp_path, monkeypatch):
    outcome = trained(tmp_path, monkeypatch)
    assert outcome.metrics["zero_shot_accuracy"] >= 0.85
    image = load_digits().images[-1].astype(np.uint8) * 15  # an eight
    predict = Predictor.load(outcome.model)
    (seen,), (moved,) = predict([{"image": image}]), predict([{"image": image, "minus": "eight", "plus": "one"}])
    assert next(iter(seen["label"])) == "eight"
    assert moved["label"]["one"] > 10 * seen["label"]["one"]
    assert moved["label"]["eight"] < seen["label"]["eight"]


def test_shuffled_captions_teach_nothing(tmp_path, monkeypatch):
    assert trained(tmp_path, monkeypatch, "dataset.shuffle_captions=true").metrics["zero_shot_accuracy"] < 0.25
