"""Balanced questions are answered: a short training, with its blind baselines in the same report."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = [pytest.mark.learn, pytest.mark.timeout(900)]


@pytest.mark.timeout(900)
def test_picture_and_question_answer_together_what_neither_does_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = (
        "dataset.train=4000",
        "dataset.held_out=300",
        "training.stages.recognition.epochs=3",
        "training.stages.answer.epochs=3",
        "evaluation.contributions=false",
    )
    assembly = assemble(load("vqa", short))
    figures = execute(assembly, runs.create(assembly, {})).metrics
    assert figures["answer_accuracy"] >= 0.55
    assert figures["image_blind_accuracy"] <= 0.35
    assert figures["question_blind_accuracy"] <= 0.30
