"""SoundNet in full: what issue and paper ask of it, each beside its control."""

import pytest

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]


@pytest.fixture(params=["synthesised", "recorded"])
def speech(request, data):
    """The override that chooses made or real speech."""
    return () if request.param == "synthesised" else (f"dataset.recordings={data / 'free-spoken-digit-dataset'}",)


def test_what_pictures_taught(reached, speech):
    found = reached("soundnet", *speech)
    assert found["object_accuracy"] >= 0.80
    assert found["scene_accuracy"] >= 0.90
    assert found["pool5_accuracy"] >= 0.75


def test_pool5_of_the_untrained_network_is_far_below(reached, speech):
    none = [f"training.stages.{stage}.epochs=0" for stage in ("object", "scene", "student")]
    assert reached("soundnet", *speech, *none)["pool5_accuracy"] <= 0.50


def test_pool5_taught_by_shuffled_pairs_is_far_below(reached, speech):
    found = reached("soundnet", *speech, "dataset.shuffle_pairs=true")
    assert found["object_accuracy"] <= 0.20
    assert found["pool5_accuracy"] <= 0.50
