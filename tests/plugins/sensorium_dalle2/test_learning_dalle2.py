"""A short training: sentences steer what is drawn, samples spread as real ones, and other sentences steer nothing."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from single_digits import CLIP, JUDGE, WORLD
from training import weights_of

pytestmark = pytest.mark.learn


def test_sentences_are_drawn_by_way_of_the_prior(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    short = (
        *WORLD[:2],
        f"model.clip={weights_of(*CLIP)}",
        f"model.judge={weights_of(*JUDGE)}",
        "model.prior={dim: 64, depth: 2}",
        "model.decoder={width: 16, sampled: 5}",
        "training.stages.prior.epochs=6",
        "training.stages.decoder.epochs=4",
        "evaluation={split: validation, plots: false}",
    )
    assembly = assemble(load("dalle2", short))
    found = execute(assembly, runs.create(assembly, {})).metrics
    assert found["judge_colour"] >= 0.9
    assert found["judge_colour"] - found["contribution.caption.judge_colour"] <= 0.7, "of two colours"
    assert 0.6 <= found["spread_prior"] <= 1.4
    assert found["told_prior"] <= found["told_linear"] - 0.05
    assert found["diversity"] >= 0.3
