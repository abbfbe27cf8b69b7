"""A short training: sentences steer what is drawn, samples spread as real ones, and other sentences steer nothing."""

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
