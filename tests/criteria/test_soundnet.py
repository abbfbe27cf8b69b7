"""SoundNet in full: what issue and paper ask of it, each beside its control."""

import pytest

from sensorium import runs
from sensorium.assembly import assemble
from sensorium.execution import execute
from sensorium.experiment import load

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]


def figures(tmp_path, monkeypatch, *overrides):
    """Returns what the default experiment reaches on its test split."""
    monkeypatch.chdir(tmp_path)
    assembly = assemble(load("soundnet", overrides))
    return execute(assembly, runs.create(assembly, {})).metrics


@pytest.fixture(params=["synthesised", "recorded"])
def speech(request, data):
    """The override that chooses made or real speech."""
    return () if request.param == "synthesised" else (f"dataset.recordings={data / 'free-spoken-digit-dataset'}",)


def test_what_pictures_taught(tmp_path, monkeypatch, speech):
    found = figures(tmp_path, monkeypatch, *speech)
    assert found["object_accuracy"] >= 0.80
    assert found["scene_accuracy"] >= 0.90
    assert found["pool5_accuracy"] >= 0.75


def test_pool5_of_the_untrained_network_is_far_below(tmp_path, monkeypatch, speech):
    none = [f"training.stages.{stage}.epochs=0" for stage in ("object", "scene", "student")]
    assert figures(tmp_path, monkeypatch, *speech, *none)["pool5_accuracy"] <= 0.50


def test_pool5_taught_by_shuffled_pairs_is_far_below(tmp_path, monkeypatch, speech):
    found = figures(tmp_path, monkeypatch, *speech, "dataset.shuffle_pairs=true")
    assert found["object_accuracy"] <= 0.20
    assert found["pool5_accuracy"] <= 0.50
