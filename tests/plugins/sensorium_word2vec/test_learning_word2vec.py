"""Vectors answer analogies after a short training, and none after one on words that are dealt out at random."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = pytest.mark.learn

BRIEF = ("dataset.train=5000", "training.epochs=3", "evaluation={contributions: false}")


def accuracy(tmp_path, monkeypatch, *overrides):
    """Returns the share of analogies that are right."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("word2vec", [*BRIEF, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics["learnt_analogies"]


@pytest.mark.parametrize("loss", ["negative", "softmax"])
def test_king_is_to_man_as_queen_is_to_woman(loss, tmp_path, monkeypatch):
    assert accuracy(tmp_path, monkeypatch, f"model.loss={loss}") >= 0.7


def test_words_dealt_out_at_random_answer_nothing(tmp_path, monkeypatch):
    assert accuracy(tmp_path, monkeypatch, "dataset.shuffle=true") < 0.1
