"""Sentences tell what is seen: short trainings on six kinds of digits, and on sentences dealt out at random."""

import json

import pytest

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.conformance.learning import Shuffled
from sensorium.training import runs
from sensorium.training.execution import execute
from sensorium_worlds.scene import COLOURS, DIGITS
from training import weights_of

pytestmark = [pytest.mark.learn, pytest.mark.timeout(900)]

SHOWN = {f"{colour} {digit}" for colour in ("red", "blue") for digit in ("zero", "one", "four")}
WORLD = (
    f"dataset.unseen={json.dumps([f'{c} {d}' for c in COLOURS for d in DIGITS if f'{c} {d}' not in SHOWN])}",
    "dataset.most=1",
    "dataset.train=900",
    "dataset.held_out=120",
    "evaluation={split: validation, contributions: false, plots: false}",
)


def figures(task, tmp_path, monkeypatch, shuffled=False):
    """Returns what is told of handwriting that the training has not seen, by eyes that are taught once."""
    monkeypatch.chdir(tmp_path)
    experiment = load(task).plain()
    recognition = experiment["model"]["recognition"]
    targets = recognition["targets"]
    eyes = weights_of(
        "recognition",
        *WORLD,
        f"dataset.cell={experiment['dataset']['cell']}",
        f"modalities={json.dumps({'image': experiment['modalities']['image'], **dict.fromkeys(targets, 'tags')})}",
        f"model.encoder={json.dumps(recognition['encoder'])}",
        f"model.targets={json.dumps(targets)}",
        "training={epochs: 6, global_batch: 32, optimizer: {lr: 3e-3, weight_decay: 0.01}}",
    )
    short = ("model.decoder.dropout=0.0", "training.stages.caption.epochs=10")
    assembly = assemble(load(task, [*WORLD, f"model.recognition={eyes}", *short]))
    if shuffled:
        assembly.splits["train"] = Shuffled(assembly.splits["train"], ["caption", "captions"], together=True)
    return execute(assembly, runs.create(assembly, {})).metrics


@pytest.mark.parametrize("task", ["show_and_tell", "show_attend_and_tell"])
def test_colour_digit_and_place_are_told(task, tmp_path, monkeypatch):
    assert figures(task, tmp_path, monkeypatch)["triples"] >= 0.6


def test_sentences_of_other_pictures_teach_nothing(tmp_path, monkeypatch):
    assert figures("show_and_tell", tmp_path, monkeypatch, shuffled=True)["triples"] < 0.15
