"""The criteria of DALL-E 2 in full, with the default experiment; shuffled sentences are its own contributions."""

import pytest

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]


def test_sentences_variations_and_the_prior(reached):
    found = reached("dalle2")
    assert found["judge_digit"] >= 0.95
    assert found["judge_colour"] >= 0.95
    assert found["judge_digit"] - found["contribution.caption.judge_digit"] <= 0.2
    assert found["judge_colour"] - found["contribution.caption.judge_colour"] <= 0.35
    assert found["cosine_prior"] > found["cosine_text"]
    assert found["variation_digit"] >= 0.9
    assert found["diversity"] >= 0.3
