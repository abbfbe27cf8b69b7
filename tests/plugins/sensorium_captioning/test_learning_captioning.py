"""Sentences tell what is seen: a short training on six kinds of digits; `criteria.yaml` holds the controls."""

import json

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.training import runs
from sensorium.training.execution import execute
from sensorium_worlds.scene import COLOURS, DIGITS
from training import weights_of

pytestmark = [pytest.mark.learn, pytest.mark.timeout(900)]

SHOWN = {f"{colour} {digit}" for colour in ("red", "blue") for digit in ("zero", "one", "four")}
CELL = 12
WORLD = (
    f"dataset.unseen={json.dumps([f'{c} {d}' for c in COLOURS for d in DIGITS if f'{c} {d}' not in SHOWN])}",
    "dataset.most=1",
    f"dataset.cell={CELL}",
    "dataset.train=900",
    "dataset.held_out=120",
    "evaluation={split: validation, contributions: false, plots: false}",
)


def test_colour_digit_and_place_are_told_of_handwriting_that_was_not_seen(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = {"name": "image", "size": 2 * CELL}
    eyes = weights_of(
        "recognition",
        *WORLD,
        f"modalities={json.dumps({'image': image, 'things': 'tags', 'properties': 'tags'})}",
        "model.encoder={name: convnet, widths: [16, 32], depth: 1, dim: 48}",
        "model.targets=[things, properties]",
        "training={epochs: 6, global_batch: 32, optimizer: {lr: 3e-3, weight_decay: 0.01}}",
    )
    short = (
        f"model.recognition={eyes}",
        "model.decoder.dim=128",
        "model.decoder.dropout=0.0",
        f"modalities.image.size={2 * CELL}",
        "training.stages.caption={epochs: 7, optimizer: {lr: 5e-3}}",
    )
    assembly = assemble(load("show_attend_and_tell", [*WORLD, *short]))
    reached = execute(assembly, runs.create(assembly, {})).metrics
    assert reached["triples"] >= 0.75
    assert reached["pointing"] >= 0.8
