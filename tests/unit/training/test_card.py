"""The card of a trained model: its data, its metrics over what does without an input, whose weights it began from."""

from sensorium.engine.checkpoint import CARD, open_checkpoint
from sensorium.experiment.reading import check
from sensorium.plugins import Plugins
from sensorium.training.card import Origin, began, measured
from training import train


def test_a_model_carries_its_card(tmp_path):
    short = ("training.steps=2", "dataset.limit={train: 64, test: 32}", "training.global_batch=16")
    done = train("clip", tmp_path, *short, "evaluation.batch=32")
    card = (tmp_path / "model" / CARD).read_text()
    open_checkpoint(tmp_path / "model")  # the card belongs to it
    assert card.startswith("---\nlibrary_name: sensorium\ntags: [clip]\n---\n")
    assert '"name": "digits"' in card
    assert "| train | 64 | 0 |\n| test | 32 | 0 |" in card
    found = done.outcome.metrics
    name = "image_to_text_r1"
    blind = found[name] - found[f"contribution.image.{name}"]
    assert f"| {name} | {found[name]:.4f} | {blind:.4f} |" in card
    assert "it began from random weights" in card
    assert "Seed 0, 2 steps" in card


def test_each_metric_stands_beside_what_is_left_without_an_input():
    metrics = {
        "a": 0.9,
        "b": 2.0,
        "contribution.image.a": 0.4,
        "contribution.text.a": 0.5,
        "contribution.image.b": -1.0,
    }
    assert list(measured(metrics, ["image", "text"], ["test"])) == [
        "| metric | value | with `image` of other samples | with `text` of other samples |",
        "|---|---|---|---|",
        "| a | 0.9000 | 0.5000 | 0.4000 |",
        "| b | 2.0000 | 3.0000 |  |",
    ]


def test_metrics_of_several_splits_have_their_own():
    metrics = {"far/a": 0.5, "near/a": 0.9, "far/contribution.image.a": 0.1, "near/contribution.image.a": 0.2}
    rows = list(measured(metrics, ["image"], ["far", "near"]))
    assert rows[2:] == ["| far/a | 0.5000 | 0.4000 |", "| near/a | 0.9000 | 0.7000 |"]


def test_without_a_baseline_the_card_says_so():
    assert "No baseline was measured" in list(measured({"a": 0.5}, ["image"], ["test"]))[-1]
    assert not list(measured({}, ["image"], ["test"]))


def test_weights_are_told_with_their_licence():
    experiment = {
        "task": "clip",
        "model": {
            "encoders": {
                "image": {"name": "timm", "model": "resnet18", "weights": "default"},
                "text": "text_transformer",
            },
            "fusion": "projection",
            "loss": "infonce",
            "weights": "models:/digits/1",
        },
        "modalities": {"image": "image", "text": "text"},
        "dataset": "digits",
    }
    model = check(experiment, Plugins()).experiment.model
    assert list(began(model, "model")) == [
        Origin("model", "models:/digits/1", ""),
        Origin("model.encoders.image", "default", "apache-2.0"),
    ]
