"""Separation in full: what the issue asks of it, each beside its control."""

from pathlib import Path

import pytest

import sensorium_separation

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]


@pytest.fixture(params=["synthesised", "recorded"])
def speech(request, data):
    """The override that chooses made or real speech."""
    return () if request.param == "synthesised" else (f"dataset.recordings={data / 'free-spoken-digit-dataset'}",)


def test_two_speakers_are_told_apart_by_their_faces(reached, speech):
    found = reached("separation", *speech)
    assert found["si_sdri"] >= 7
    assert found["right"] >= 0.95
    assert found["other_face_si_sdri"] < -3
    assert found["contribution.face_a.si_sdri"] > 1


def test_without_faces_they_are_not(reached, speech):
    assert reached("separation", *speech, "model.blind=true")["si_sdri"] <= 1


def test_clips_of_grid_are_learnt_by_heart(reached, data):
    experiment = Path(sensorium_separation.__file__).parent / "experiments" / "grid.yaml"
    root = f"dataset.root={data / 'GRID-samples'}"
    assert reached(str(experiment), root)["si_sdri"] >= 10
