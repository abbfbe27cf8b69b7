"""A short training: sentences steer what is drawn, and sentences dealt out to other samples do not."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = [pytest.mark.learn, pytest.mark.timeout(600)]

SHORT = [
    "dataset.train=2000",
    "dataset.held_out=150",
    "dataset.cell=8",
    "modalities.image.size=8",
    "model.decoder.width=24",
    "model.sampled=10",
    "training.stages.clip.epochs=6",
    "training.stages.judge.epochs=5",
    "training.stages.prior.epochs=6",
    "training.stages.decoder.epochs=10",
]


def test_sentences_are_drawn_by_way_of_the_prior(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("dalle2", SHORT))
    figures = execute(assembly, runs.create(assembly, {})).metrics
    assert figures["judge_colour"] >= 0.9
    assert figures["judge_digit"] >= 0.4
    assert figures["judge_digit"] - figures["contribution.caption.judge_digit"] <= 0.25
    assert figures["judge_colour"] - figures["contribution.caption.judge_colour"] <= 0.4
    assert figures["cosine_prior"] > figures["cosine_text"]
    assert figures["diversity"] >= 0.3
