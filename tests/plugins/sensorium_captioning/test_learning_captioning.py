"""Sentences tell what is seen: short trainings on few digits, and the same on pictures dealt out at random."""

import pytest

from sensorium import runs
from sensorium.assembly import assemble
from sensorium.conformance.tasks import Shuffled
from sensorium.execution import execute
from sensorium.experiment import load

pytestmark = [pytest.mark.learn, pytest.mark.timeout(900)]

SHORT = {
    "show_and_tell": (
        "dataset.held_out=200",
        "training.stages.caption.epochs=2",
    ),
    "show_attend_and_tell": (
        "dataset.most=1",
        "dataset.train=2500",
        "dataset.held_out=200",
        "training.stages.caption.epochs=4",
    ),
}

REACHED = {"show_and_tell": 0.4, "show_attend_and_tell": 0.6}
"""Least share of colour, digit and place told."""


def figures(task, tmp_path, monkeypatch, shuffled=False):
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load(task, [*SHORT[task], "evaluation.contributions=false"]))
    if shuffled:
        assembly.splits["train"] = Shuffled(assembly.splits["train"], ["image"])
    return execute(assembly, runs.create(assembly, {})).metrics


@pytest.mark.parametrize("task", SHORT)
def test_colour_digit_and_place_are_told(task, tmp_path, monkeypatch):
    assert figures(task, tmp_path, monkeypatch)["triples"] >= REACHED[task]


def test_shuffled_pictures_teach_nothing(tmp_path, monkeypatch):
    assert figures("show_attend_and_tell", tmp_path, monkeypatch, shuffled=True)["triples"] < 0.1
