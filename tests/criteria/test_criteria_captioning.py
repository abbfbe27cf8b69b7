"""The criteria of captioning, in full: default experiments, their controls, photographs by heart."""

from pathlib import Path

import pytest

import sensorium_captioning

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]

SCRATCH = (
    "model.recognition=null",
    "model.encoder={name: convnet, widths: [24, 48, 96], dim: 128, pool: flatten}",
    "training.stages={caption: {epochs: 8}}",
)
SENTENCES = ("caption", "captions")
"""What the controls deal out; the tags stay with their pictures, so that the recognition learns what it should."""


def test_show_attend_and_tell(reached):
    found = reached("show_attend_and_tell")
    assert found["exact"] >= 0.80
    assert found["triples"] >= 0.90
    assert found["pointing"] >= 0.90


def test_show_attend_and_tell_with_uniform_attention(reached):
    found = reached("show_attend_and_tell", "model.decoder.attention=uniform")
    assert found["triples"] <= 0.45


def test_show_attend_and_tell_with_shuffled_pairs(reached):
    assert reached("show_attend_and_tell", shuffled=SENTENCES)["triples"] <= 0.1


def test_show_and_tell(reached):
    assert reached("show_and_tell")["triples"] >= 0.60


def test_show_and_tell_with_shuffled_pairs(reached):
    assert reached("show_and_tell", shuffled=SENTENCES)["triples"] <= 0.1


def test_show_and_tell_from_scratch(reached):
    assert reached("show_and_tell", *SCRATCH)["triples"] <= 0.3


def test_photographs_are_learnt_by_heart(reached, data):
    coco = Path(sensorium_captioning.__file__).parent / "experiments/coco.yaml"
    found = reached(coco, f"dataset.root={data / 'tiny_coco'}")
    assert found["cider_d"] > 3
