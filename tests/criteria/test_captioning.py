"""The criteria of captioning, in full: default experiments, their controls, photographs by heart."""

from pathlib import Path

import pytest

import sensorium_captioning
from sensorium import runs
from sensorium.assembly import assemble
from sensorium.conformance.tasks import Shuffled
from sensorium.execution import execute
from sensorium.experiment import load

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]

SCRATCH = ("model.recognition=null", "model.encoder={name: convnet, widths: [24, 48, 96], dim: 128, pool: flatten}")


def figures(source, tmp_path, monkeypatch, *overrides, shuffled=False):
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load(source, overrides))
    if shuffled:
        assembly.splits["train"] = Shuffled(assembly.splits["train"], ["image"])
    return execute(assembly, runs.create(assembly, {})).metrics


def test_show_attend_and_tell(tmp_path, monkeypatch):
    found = figures("show_attend_and_tell", tmp_path, monkeypatch)
    assert found["exact"] >= 0.80
    assert found["triples"] >= 0.90
    assert found["pointing"] >= 0.90


def test_show_attend_and_tell_with_uniform_attention(tmp_path, monkeypatch):
    found = figures("show_attend_and_tell", tmp_path, monkeypatch, "model.decoder.attention=uniform")
    assert found["triples"] <= 0.45


def test_show_attend_and_tell_with_shuffled_pairs(tmp_path, monkeypatch):
    assert figures("show_attend_and_tell", tmp_path, monkeypatch, shuffled=True)["triples"] <= 0.1


def test_show_and_tell(tmp_path, monkeypatch):
    assert figures("show_and_tell", tmp_path, monkeypatch)["triples"] >= 0.60


def test_show_and_tell_from_scratch(tmp_path, monkeypatch):
    assert figures("show_and_tell", tmp_path, monkeypatch, *SCRATCH)["triples"] <= 0.3


def test_photographs_are_learnt_by_heart(tmp_path, monkeypatch, data):
    coco = Path(sensorium_captioning.__file__).parent / "experiments/coco.yaml"
    found = figures(str(coco), tmp_path, monkeypatch, f"dataset.root={data / 'tiny_coco'}")
    assert found["cider_d"] > 3
