"""The criteria of text to image in full, with the default experiment and its controls."""

import pytest

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]


def test_combinations_held_out_are_drawn_in_many_ways(reached):
    found = reached("text2image")
    assert found["judge_digit"] >= 0.90
    assert found["judge_colour"] >= 0.95
    assert found["match_auc"] >= 0.95
    assert found["diversity"] >= 0.3


def test_a_discriminator_that_does_not_read_lets_anything_be_drawn(reached):
    found = reached("text2image", "model.blind=true")
    assert found["judge_digit"] <= 0.2
    assert found["judge_colour"] <= 0.35


def test_wrong_sentences_teach_to_read(reached):
    alone = "evaluation.contributions=false"
    found = reached("text2image", alone)["match_auc"]
    assert reached("text2image", alone, "model.mismatched=false")["match_auc"] <= found - 0.05
