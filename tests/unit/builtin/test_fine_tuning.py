"""Encoders around a library's network: frozen, or with adapters beside its layers."""

import sys

import pytest
import timm
import torch
from safetensors.torch import save_file

from sensorium import UserError
from sensorium.builtin.encoders.fine_tuning import LoRA
from sensorium.builtin.encoders.timm import Timm
from sensorium.builtin.encoders.torchvision import Backbone
from sensorium.builtin.modalities.image import Image

SIZE = 32


def image():
    return Image(Image.Config(size=SIZE))


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Name of a network -> the file of its random weights."""
    files = {}
    for name, options in {"test_vit": {"img_size": SIZE}, "resnet10t": {}}.items():
        torch.manual_seed(1)
        files[name] = str(tmp_path_factory.mktemp(name) / "model.safetensors")
        save_file(timm.create_model(name, **options).state_dict(), files[name])
    return files


def encoder(weights, model="test_vit", how="lora", **lora):
    config = Timm.Config(model=model, weights=weights[model], fine_tune=how, lora=LoRA(**lora))
    made = Timm(config, image())
    made.initialise()
    return made


def trained(made):
    return {name for name, _ in made.named_parameters()} - set(made.given())


def teach(made):
    """Gives the adapters weights as if they had learnt something."""
    torch.manual_seed(2)
    for name, parameter in made.named_parameters():
        if name in trained(made):
            torch.nn.init.normal_(parameter, std=0.1)


def test_frozen_trains_nothing_and_full_all(weights):
    assert trained(encoder(weights, how="frozen")) == set()
    full = encoder(weights, how="full")
    assert trained(full) == {name for name, _ in full.named_parameters()}


@pytest.mark.parametrize("how", ["frozen", "lora"])
def test_batch_normalisation_does_not_move(how, weights):
    made = encoder(weights, "resnet10t", how, targets=["conv1", "conv2"])
    made.adapt()
    made.train()
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    features = made(torch.randn(4, 3, SIZE, SIZE))
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.state_dict().items())
    made.eval()
    assert torch.equal(features.pooled, made(torch.randn(4, 3, SIZE, SIZE)).pooled) is False
    full = encoder(weights, "resnet10t", "full").train()
    full(torch.randn(4, 3, SIZE, SIZE))
    moved = [name for name, tensor in full.state_dict().items() if not torch.equal(tensor, before.get(name, tensor))]
    assert moved, "a network that is trained moves its statistics"


@pytest.mark.parametrize(
    ("model", "lora", "layers"),
    [
        ("test_vit", {"targets": ["qkv"]}, {f"blocks.{n}.attn.qkv" for n in range(6)}),
        ("test_vit", {"targets": ["attn.proj"]}, {f"blocks.{n}.attn.proj" for n in range(6)}),
        (
            "test_vit",
            {},
            {f"blocks.{n}.{name}" for n in range(6) for name in ("attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2")},
        ),
        ("resnet10t", {"targets": ["conv2"]}, {f"layer{n}.0.conv2" for n in range(1, 5)}),
    ],
)
def test_adapters_stand_beside_their_targets_and_change_nothing_at_first(model, lora, layers, weights):
    made, pictures = encoder(weights, model, rank=3, **lora).eval(), torch.randn(2, 3, SIZE, SIZE)
    before = made(pictures).pooled
    made.adapt()
    assert trained(made) == {f"body.{layer}.lora_{one}.default.weight" for layer in layers for one in "AB"}
    assert torch.equal(made(pictures).pooled, before)


def test_a_network_without_linear_layers_gets_adapters_beside_convolutions(weights):
    made = encoder(weights, "resnet10t")
    made.adapt()
    assert "body.layer1.0.conv1.lora_A.default.weight" in trained(made)


@pytest.mark.parametrize("model", ["test_vit", "resnet10t"])
def test_merged_weights_give_the_same_and_are_named_as_before(model, weights):
    made, pictures = encoder(weights, model, rank=2, alpha=6.0).eval(), torch.randn(2, 3, SIZE, SIZE)
    plain = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    made.adapt()
    teach(made)
    found = made.eval()(pictures).pooled
    matrices = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    made.merge()
    assert made.state_dict().keys() == plain.keys()
    torch.testing.assert_close(made(pictures).pooled, found, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(found, encoder(weights, model).eval()(pictures).pooled, atol=1e-2)
    if model == "test_vit":  # W + alpha / r * B A
        place = "body.blocks.0.attn.qkv"
        low, high = (matrices[f"{place}.lora_{one}.default.weight"] for one in "AB")
        expected = plain[f"{place}.weight"] + 6.0 / 2 * high @ low
        torch.testing.assert_close(made.state_dict()[f"{place}.weight"], expected, rtol=1e-5, atol=1e-6)


def test_attention_of_torch_is_left_alone_as_it_passes_its_layers_by():
    config = Backbone.Config(model="vit_b_16", weights="DEFAULT", fine_tune="lora", lora=LoRA(rank=1))
    with torch.device("meta"):
        body = Backbone(Backbone.Config(model="vit_b_16"), Image(Image.Config(size=224))).body
    made = Backbone.__new__(Backbone)
    torch.nn.Module.__init__(made)
    made.config, made.body = config, body
    made.adapt()
    layers = {name.split(".lora_")[0].split(".", 4)[-1] for name in trained(made)}
    assert layers == {"mlp.0", "mlp.3"}


def test_what_cannot_be_is_said(weights, monkeypatch):
    with pytest.raises(UserError, match=r"fine_tune=frozen leaves the network as it is.*Name them by `weights`"):
        Timm(Timm.Config(model="test_vit", fine_tune="frozen"), image())
    with pytest.raises(UserError, match=r"no linear layer or convolution 'qvk' at lora\.targets.*'qkv'"):
        encoder(weights, targets=["qvk"]).adapt()
    with pytest.raises(ValueError, match="rank is at least 1"):
        LoRA(rank=0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(UserError, match=r"peft is not installed.*pip install 'sensorium\[hf\]'"):
        encoder(weights).adapt()
