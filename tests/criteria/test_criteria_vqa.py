"""The criteria of VQA, in full: the default experiment, its fusions, easy-VQA."""

from pathlib import Path

import pytest

import sensorium_vqa

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(3600)]

TYPES = ("colour", "digit", "exists", "count")


def test_balanced_questions(reached):
    found = reached("vqa")
    assert found["answer_accuracy"] >= 0.85
    assert found["image_blind_accuracy"] <= 0.35
    assert found["question_blind_accuracy"] <= 0.30
    assert min(found[f"answer_accuracy_{kind}"] for kind in TYPES) >= 0.70


def test_the_product_is_no_worse_than_sum_and_concatenation(reached):
    overrides = ("evaluation.contributions=false",)
    product = reached("vqa", *overrides)["answer_accuracy"]
    fusions = ("{name: sum, dim: 1024}", "{name: concatenation}", "{name: bilinear, dim: 1024, rank: 1024}")
    *bounded, _ = [reached("vqa", *overrides, f"model.fusion={each}")["answer_accuracy"] for each in fusions]
    assert product >= max(bounded) - 0.02  # what 500 questions cannot tell apart; bilinear stands for comparison


def test_easy_vqa(reached, data):
    easy = Path(sensorium_vqa.__file__).parent / "experiments/easy_vqa.yaml"
    found = reached(easy, f"dataset.root={data / 'easy-VQA/data'}")
    assert found["answer_accuracy"] >= 0.97
    assert found["answer_accuracy"] >= found["image_blind_accuracy"] + 0.25
