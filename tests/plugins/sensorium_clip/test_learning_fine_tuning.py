"""A tower that knows digits learns the default task of CLIP from others, frozen or by adapters, as well as whole."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from sensorium.assembly.base import adapted
from sensorium.builtin.datasets.digits import Digits
from sensorium.engine.step import parameters_of
from training import train

pytestmark = pytest.mark.learn

SIZE, KNOWN, EPOCHS, BATCH = 32, 900, 15, 64
"""Side of a picture, digits that the tower was trained on before, and how."""
COMMON = (
    "model.fusion.dim=16",
    f"modalities.image={{name: image, size: {SIZE}}}",
    f"dataset.limit={{train: {Digits.TRAIN - KNOWN}}}",
    "training={epochs: 5, global_batch: 32, optimizer: {lr: 3e-3}}",
    "evaluation={contributions: false, plots: false}",
)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The file of a small vision transformer of timm that has learnt to tell the last digits of the training split."""
    images, digits = (torch.tensor(each[-KNOWN:]) for each in Digits(Digits.Config()).read("train"))
    pictures = F.interpolate(images[:, None] / 127.5 - 1, (SIZE, SIZE), mode="bilinear").expand(-1, 3, -1, -1)
    torch.manual_seed(0)
    network = timm.create_model("test_vit", img_size=SIZE, num_classes=10)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    steps = EPOCHS * (KNOWN // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-3, steps)
    for _ in range(EPOCHS):
        for chosen in torch.randperm(KNOWN).split(BATCH)[: KNOWN // BATCH]:
            optimizer.zero_grad()
            F.cross_entropy(network(pictures[chosen]), digits[chosen]).backward()
            optimizer.step()
            schedule.step()
    file = tmp_path_factory.mktemp("known") / "model.safetensors"
    save_file(network.state_dict(), file)
    return str(file)


def learnt(folder, weights, how, *options):
    """Returns the accuracy without a classifier on other writers, and the share of weights that were trained."""
    tower = {"name": "timm", "model": "test_vit", "weights": weights, "fine_tune": how}
    tower["lora"] = {"rank": 4, "targets": ["qkv"]}
    towers = f"{{image: {json.dumps(tower)}, text: {{name: text_transformer, dim: 16, depth: 1, heads: 2}}}}"
    trained = train("clip", folder, f"model.encoders={towers}", *COMMON, *options)
    task = trained.assembly.task
    with adapted(task):
        own = parameters_of(task, task.stages()[0].objectives[0]).values()
        share = sum(each.numel() for each in own) / sum(each.numel() for each in task.parameters())
    return trained.outcome.metrics["zero_shot_accuracy"], share


def test_less_than_a_twentieth_of_the_weights_learns_nearly_as_much(weights, tmp_path):
    full, share = learnt(tmp_path / "full", weights, "full", "training.optimizer.parts={encoders.image: {lr: 1e-4}}")
    assert (share, full > 0.8) == (1.0, True)
    for how in ("frozen", "lora"):
        accuracy, share = learnt(tmp_path / how, weights, how)
        print(f"{how}: {accuracy:.3f} of {full:.3f}, {share:.1%} trained")
        assert share < 0.05
        assert accuracy > 0.9 * full
