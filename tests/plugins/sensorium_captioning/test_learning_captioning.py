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

pytestmark = pytest.mark.learn

SHOWN = {f"{colour} {digit}" for colour in ("red", "blue") for digit in ("zero", "one", "four")}
UNSEEN = json.dumps([f"{c} {d}" for c in COLOURS for d in DIGITS if f"{c} {d}" not in SHOWN])
WORLD = (
    f"dataset={{name: digits_canvas, source: digits, cell: 10, most: 1, train: 600, held_out: 100, unseen: {UNSEEN}}}",
    "modalities={image: {name: image, size: 20}, caption: {name: text, max_length: 32}, tags: tags, things: tags,"
    " properties: tags}",
    "evaluation={split: validation, contributions: false, plots: false}",
)
EYES = {
    "show_and_tell": ("{name: convnet, widths: [24, 48], dim: 64, pool: flatten}", "[tags]"),
    "show_attend_and_tell": ("{name: convnet, widths: [24, 48], dim: 64}", "[things, properties]"),
}
"""What has seen before, for each task: its encoder, and what it was taught."""


def figures(task, tmp_path, monkeypatch, shuffled=False):
    """Returns what is told of handwriting that the training has not seen."""
    monkeypatch.chdir(tmp_path)
    encoder, targets = EYES[task]
    eyes = weights_of(
        "recognition",
        *WORLD,
        f"model.encoder={encoder}",
        f"model.targets={targets}",
        "training.epochs=8",
        "training.global_batch=32",
    )
    short = (
        *WORLD,
        f"model.recognition={eyes}",
        "model.decoder.dim=96",
        "model.decoder.dropout=0.0",
        "training.stages.caption.epochs=10",
    )
    assembly = assemble(load(task, short))
    if shuffled:
        assembly.splits["train"] = Shuffled(assembly.splits["train"], ["caption", "captions"], together=True)
    return execute(assembly, runs.create(assembly, {})).metrics


@pytest.mark.parametrize("task", list(EYES))
def test_colour_digit_and_place_are_told(task, tmp_path, monkeypatch):
    assert figures(task, tmp_path, monkeypatch)["triples"] >= 0.5


def test_sentences_of_other_pictures_teach_nothing(tmp_path, monkeypatch):
    assert figures("show_attend_and_tell", tmp_path, monkeypatch, shuffled=True)["triples"] < 0.15
