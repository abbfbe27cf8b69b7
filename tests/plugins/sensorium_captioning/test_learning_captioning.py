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
CELL = 12
WORLD = (
    f"dataset.unseen={json.dumps([f'{c} {d}' for c in COLOURS for d in DIGITS if f'{c} {d}' not in SHOWN])}",
    "dataset.most=1",
    f"dataset.cell={CELL}",
    "dataset.train=900",
    "dataset.held_out=120",
    "evaluation={split: validation, contributions: false, plots: false}",
)
EYES = {
    "show_and_tell": "{name: convnet, widths: [16, 32, 64], dim: 96, pool: flatten}",
    "show_attend_and_tell": "{name: convnet, widths: [16, 32], depth: 1, dim: 48}",
}
SHORT = {
    "show_and_tell": ("training.stages.caption.epochs=10",),
    "show_attend_and_tell": ("training.stages.caption={epochs: 7, optimizer: {lr: 5e-3}}",),
}


def figures(task, tmp_path, monkeypatch, shuffled=False):
    """Returns what is told of handwriting that the training has not seen, by small eyes that are taught once."""
    monkeypatch.chdir(tmp_path)
    targets = load(task).plain()["model"]["recognition"]["targets"]
    image = {"name": "image", "size": 2 * CELL}
    eyes = weights_of(
        "recognition",
        *WORLD,
        f"modalities={json.dumps({'image': image, **dict.fromkeys(targets, 'tags')})}",
        f"model.encoder={EYES[task]}",
        f"model.targets={json.dumps(targets)}",
        "training={epochs: 6, global_batch: 32, optimizer: {lr: 3e-3, weight_decay: 0.01}}",
    )
    small = ("model.decoder.dim=128", "model.decoder.dropout=0.0", f"modalities.image.size={2 * CELL}")
    assembly = assemble(load(task, [*WORLD, f"model.recognition={eyes}", *small, *SHORT[task]]))
    if shuffled:
        assembly.splits["train"] = Shuffled(assembly.splits["train"], ["caption", "captions"], together=True)
    return execute(assembly, runs.create(assembly, {})).metrics


@pytest.mark.parametrize(("task", "least"), [("show_and_tell", 0.5), ("show_attend_and_tell", 0.75)])
def test_colour_digit_and_place_are_told(task, least, tmp_path, monkeypatch):
    assert figures(task, tmp_path, monkeypatch)["triples"] >= least


def test_sentences_of_other_pictures_teach_nothing(tmp_path, monkeypatch):
    assert figures("show_and_tell", tmp_path, monkeypatch, shuffled=True)["triples"] < 0.15
