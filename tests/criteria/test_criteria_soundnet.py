"""SoundNet in full: what issue and paper ask of it, each beside its control."""

import pytest

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]

AHEAD = 0.2
"""How far, at least, pool5 is ahead of an untrained network's and of one that shuffled pairs taught."""


@pytest.fixture(params=["synthesised", "recorded"])
def speech(request, data):
    """The override that chooses made or real speech."""
    return () if request.param == "synthesised" else (f"dataset.recordings={data / 'free-spoken-digit-dataset'}",)


def test_pool5_knows_what_pictures_taught(reached, speech):
    found = reached("soundnet", *speech)
    assert found["object_accuracy"] >= 0.80
    assert found["scene_accuracy"] >= 0.90
    assert found["pool5_accuracy"] >= 0.75
    none = [f"training.stages.{stage}.epochs=0" for stage in ("object", "scene", "student")]
    untrained = reached("soundnet", *speech, *none)
    assert untrained["pool5_accuracy"] <= found["pool5_accuracy"] - AHEAD
    shuffled = reached("soundnet", *speech, "dataset.shuffle_pairs=true")
    assert shuffled["pool5_accuracy"] <= min(0.50, found["pool5_accuracy"] - AHEAD)
    assert shuffled["object_accuracy"] <= 0.20
