"""Learning rates and weight decay by part, and by depth."""

import pytest
import timm
import torch
from timm.optim import param_groups_layer_decay
from torch import nn
from torchvision import models

from sensorium import UserError
from sensorium.engine.groups import by_part, check
from sensorium.engine.optimizers import build
from sensorium.engine.settings import Optimizer, Part
from sensorium.experiment.schema import schema
from sensorium.plugins import Plugins
from training import build as assembled
from training import train


def towers():
    inner = nn.ModuleDict({"first": nn.Linear(2, 2), "second": nn.Linear(2, 2)})
    return nn.ModuleDict({"tower": inner, "tower2": nn.Linear(2, 2), "head": nn.Linear(2, 2)})


def rates(settings, model):
    """Returns parameter -> its learning rate and weight decay, as the optimizer has them."""
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    groups = build(settings, dict(model.named_parameters()), model).param_groups
    return {names[id(each)]: (group["lr"], group["weight_decay"]) for group in groups for each in group["params"]}


def test_an_inner_part_wins_over_an_outer_one_which_wins_over_the_rest():
    parts = {"tower.second": Part(lr=0.1), "tower": Part(lr=0.2, weight_decay=0.5)}
    found = rates(Optimizer(lr=1.0, weight_decay=0.1, parts=parts), towers())
    assert found["tower.first.weight"] == (0.2, 0.5)
    assert found["tower.first.bias"] == (0.2, 0.0)
    assert found["tower.second.weight"] == (0.1, 0.5)
    assert found["tower2.weight"] == found["head.weight"] == (1.0, 0.1)


def test_options_of_the_class_differ_too_and_parts_move_as_they_are_told():
    torch.manual_seed(0)
    model = towers()
    parts = {"tower": Part(lr=0.1, options={"momentum": 0.0})}
    optimizer = build(
        Optimizer(name="sgd", lr=1.0, options={"momentum": 0.5}, parts=parts), dict(model.named_parameters()), model
    )
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for _ in range(2):
        for parameter in model.parameters():
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    moved = {name: (before[name] - parameter.detach()).mean().item() for name, parameter in model.named_parameters()}
    assert moved["tower.first.weight"] == pytest.approx(0.1 + 0.1)
    assert moved["head.bias"] == pytest.approx(1.0 + 1.5)


def shares(module, decay=0.5):
    settings = Optimizer(lr=1.0, parts={"part": Part(layer_decay=decay)})
    model = nn.ModuleDict({"part": module})
    return {
        name.removeprefix("part."): own.lr
        for name, own in by_part(settings, dict(model.named_parameters()), model).items()
    }


def test_depth_by_hand():
    block = nn.TransformerEncoderLayer(4, 1, 4)
    part = nn.ModuleDict({"embed": nn.Linear(4, 4), "blocks": nn.TransformerEncoder(block, 2), "norm": nn.LayerNorm(4)})
    found = shares(part)
    assert found["embed.weight"] == 0.5**3
    assert found["blocks.layers.0.linear1.weight"] == 0.5**2
    assert found["blocks.layers.1.self_attn.in_proj_weight"] == 0.5
    assert found["norm.bias"] == 1.0


def test_a_schedule_and_the_rest_of_the_model_stay_as_they_are():
    model = nn.ModuleDict({"part": nn.Sequential(towers(), towers()), "head": nn.Linear(2, 2)})
    found = rates(Optimizer(lr=0.2, parts={"part": Part(lr=0.1, layer_decay=0.5)}), model)
    assert found["part.0.head.weight"][0] == pytest.approx(0.1 / 4)
    assert found["part.1.head.weight"][0] == pytest.approx(0.1 / 2)
    assert found["head.weight"][0] == 0.2


@pytest.mark.parametrize("name", ["test_vit", "resnet18", "test_convnext"])
def test_the_rates_are_those_of_timm(name):
    network = timm.create_model(name, num_classes=10)
    groups = param_groups_layer_decay(network, layer_decay=0.5)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    right = {names[id(each)]: group["lr_scale"] for group in groups for each in group["params"]}
    # What normalises the last block's output goes with it in timm, with the head in MAE.
    apart = ("norm.", "head.norm.")
    found = {key: value for key, value in shares(network).items() if not key.startswith(apart)}
    assert found == {key: pytest.approx(value) for key, value in right.items() if not key.startswith(apart)}


@pytest.mark.parametrize(("name", "blocks"), [("resnet18", 8), ("vit_b_16", 12), ("swin_t", 15), ("convnext_tiny", 18)])
def test_networks_of_torchvision_have_their_depth(name, blocks):
    with torch.device("meta"):
        network = models.get_model(name)
    assert len({share for key, share in shares(network).items() if not key.startswith(("fc", "head"))}) in range(
        blocks, blocks + 3
    )


PARTS = "training.optimizer.parts={generator: {lr: 0.01}}"


@pytest.mark.parametrize(
    ("parts", "wrong"),
    [
        ("{generatr: {lr: 0.1}}", r"no part of the model 'generatr' at training\.optimizer\.parts.*'generator'"),
        ("{'': {lr: 0.1}}", r"no part of the model ''"),
        ("{generator: {lrr: 0.1}}", r"no option 'lrr' at training\.optimizer\.parts\.generator.*Did you mean 'lr'"),
        ("{generator: {lr: -1}}", "lr must be above 0"),
        ("{generator: {layer_decay: 2}}", r"layer_decay must lie in \(0, 1\]"),
        ("{generator: {layer_decay: 0.5}}", "'generator', which has no blocks to count"),
        ("{generator: {options: {betas: [0.9, 2]}}}", "Invalid beta parameter"),
        ("{generator: {options: {bettas: [0.9, 0.9]}}}", r"bettas.*betas"),
    ],
)
def test_a_typo_never_trains(parts, wrong):
    with pytest.raises(UserError, match=wrong):
        assembled("toy_gan", f"training.optimizer.parts={parts}")


def test_a_part_that_nothing_trains_is_refused():
    settings = Optimizer(parts={"head": Part(lr=0.1)})
    with pytest.raises(UserError, match="names 'head', of which this optimizer trains nothing"):
        check(settings, "training.optimizer", towers(), ["tower2.weight"])
    with pytest.raises(UserError, match=r"stages\.game\.optimizers\.discriminate\.parts names 'generator'"):
        assembled("toy_gan", "training.stages.game.optimizers.discriminate={parts: {generator: {lr: 0.1}}}")


def moves(folder, *options):
    """Returns how far each parameter moves in the first step of gradient descent."""
    sgd = ("training.optimizer.name=sgd", "training.optimizer.lr=0.1", "training.clip_norm=null")
    before = assembled("toy_gan", *sgd, *options).task.state_dict()
    after = train("toy_gan", folder, *sgd, "training.steps=1", *options).weights()
    return {name: after[name] - before[name] for name in after}


def test_a_part_moves_at_its_rate(tmp_path):
    whole, part = moves(tmp_path / "whole"), moves(tmp_path / "part", PARTS)
    for name, move in whole.items():
        if name.startswith("generator"):
            torch.testing.assert_close(part[name], 0.1 * move, rtol=1e-5, atol=1e-7)
        else:  # which sees what the generator makes after its step
            torch.testing.assert_close(part[name], move, rtol=0.05, atol=1e-4)


def test_the_schema_and_a_run_that_is_told_know_them():
    training = schema(Plugins())["properties"]["training"]["properties"]
    part = training["optimizer"]["properties"]["parts"]["additionalProperties"]["properties"]
    assert part.keys() == {"lr", "weight_decay", "layer_decay", "options"}
    assert "BEiT" in part["layer_decay"]["description"]
    plain = assembled("toy_gan", PARTS).loaded.plain()
    assert plain["training"]["optimizer"]["parts"]["generator"]["lr"] == 0.01
