"""Separation follows the faces; without them nothing says whose voice is whose."""

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute

pytestmark = pytest.mark.learn

SOUND = "{name: audio, sample_rate: 8000, seconds: 0.8, view: waveform, n_fft: 256}"
FACE = "{name: video, size: 8, channels: 1, frame_rate: 50, seconds: 0.8}"
BRIEF = (
    "dataset.train=96",
    "dataset.held_out=24",
    "dataset.seconds=0.8",
    "dataset.digits=2",
    *(f"modalities.{name}={SOUND}" for name in ("mixture", "voice_a", "voice_b")),
    *(f"modalities.{name}={FACE}" for name in ("face_a", "face_b")),
    "model.visual={channels: 16, dilations: [1]}",
    "model.audio={channels: 4, dilations: [], last: 2}",
    "model.joint={hidden: 32, dense: [96], skip: true}",
    "model.power=0.7",
    "model.faces.encoder={name: vit, patch: 8, dim: 32, depth: 1, heads: 1, mlp_ratio: 2}",
    "training.epochs=6",
    "training.global_batch=8",
    "training.schedule.warmup=0.3",
    "training.optimizer.lr=5e-3",
    "evaluation={split: test, contributions: false}",
)


def reached(tmp_path, monkeypatch, *overrides):
    """Returns what is reached on takes that the training has not heard."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("separation", [*BRIEF, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics


def test_each_face_brings_its_voice(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch)
    assert found["si_sdri"] >= 2.5
    assert found["right"] >= 0.9
    assert found["other_face_si_sdri"] < -3


def test_without_faces_nothing_is_separated(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch, "model.blind=true", "training.epochs=3")
    assert found["si_sdri"] <= 0.5
    assert found["gate_si_sdri"] > 2.5
