"""Balanced questions are answered: a short training, with its blind baselines in the same report."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from training import weights_of

pytestmark = pytest.mark.learn

WORLD = (
    "dataset={name: digits_canvas, source: digits, cell: 10, train: 1400, held_out: 200}",
    "modalities={image: {name: image, size: 20}, question: {name: text, max_length: 16, lowercase: true},"
    " answer: label, tags: tags, things: tags}",
    "evaluation={split: validation, contributions: false, plots: false}",
)


def test_picture_and_question_answer_together_what_neither_does_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    eyes = weights_of(
        "recognition",
        *WORLD,
        "model.encoder={name: convnet, widths: [16, 32], dim: 64, pool: flatten}",
        "model.targets=[tags, things]",
        "training.epochs=6",
        "training.global_batch=32",
    )
    short = (
        *WORLD,
        f"model.recognition={eyes}",
        "model.words={name: rnn, cell: lstm, bidirectional: false, hidden: 64, dim: 64, token_std: 1}",
        "model.fusion={name: product, dim: 256}",
        "model.hidden=64",
        "training.stages.answer.epochs=6",
    )
    assembly = assemble(load("vqa", short))
    found = execute(assembly, runs.create(assembly, {})).metrics
    assert found["answer_accuracy"] >= 0.5
    assert found["image_blind_accuracy"] <= 0.38
    assert found["question_blind_accuracy"] <= 0.30
