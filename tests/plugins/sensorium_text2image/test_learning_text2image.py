"""A short training: the discriminator tells right sentences from wrong ones, which a blind one does not."""

import json

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from sensorium_worlds.scene import COLOURS, DIGITS
from training import weights_of

pytestmark = pytest.mark.learn

SHOWN = {f"{colour} {digit}" for colour in ("red", "blue") for digit in ("zero", "one", "four")}
UNSEEN = json.dumps([f"{c} {d}" for c in COLOURS for d in DIGITS if f"{c} {d}" not in SHOWN])
WORLD = (
    "dataset={name: digits_canvas, source: digits, cells: 1, cell: 8, least: 1, most: 1, train: 1000, held_out: 100,"
    f" unseen: {UNSEEN}}}",
    "modalities={image: {name: image, size: 8}, caption: {name: text, max_length: 12, lowercase: true},"
    " digit: label, colour: label}",
    "evaluation={split: validation, contributions: false, plots: false}",
)
CLIP = (
    "clip",
    *WORLD,
    "model.encoders={image: {name: convnet, widths: [16, 32], dim: 32},"
    " caption: {name: text_transformer, dim: 32, depth: 1, heads: 4}}",
    "model.fusion.dim=32",
    "training.epochs=8",
    "training.global_batch=64",
)
JUDGE = (
    "recognition",
    *WORLD,
    "model.encoder={name: convnet, widths: [16, 32], dim: 64, pool: flatten}",
    "model.targets=[digit, colour]",
    "model.metrics=[accuracy]",
    "training.epochs=5",
)


def reached(tmp_path, monkeypatch, *overrides):
    """Returns the metrics of a training of seconds."""
    monkeypatch.chdir(tmp_path)
    short = (
        *WORLD,
        f"model.clip={weights_of(*CLIP)}",
        f"model.judge={weights_of(*JUDGE)}",
        "model.width=16",
        "training.stages.gan.epochs=8",
    )
    assembly = assemble(load("text2image", [*short, *overrides]))
    return execute(assembly, runs.create(assembly, {})).metrics


def test_pictures_have_the_colour_that_is_asked_for_and_differ(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch)
    assert found["judge_colour"] >= 0.85
    assert found["match_auc"] >= 0.75
    assert found["diversity"] >= 0.3


def test_a_blind_discriminator_lets_anything_be_drawn(tmp_path, monkeypatch):
    found = reached(tmp_path, monkeypatch, "model.blind=true")
    assert found["judge_colour"] <= 0.7
    assert 0.4 <= found["match_auc"] <= 0.6
