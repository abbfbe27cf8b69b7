"""Networks of timm: the features that timm gives, weights from its files, pictures as the weights know them."""

import json

import pytest
import timm
import torch
from safetensors.torch import save_file

from sensorium import UserError
from sensorium.assembly.loading import load
from sensorium.builtin.encoders.timm import Timm
from sensorium.builtin.modalities.image import Image
from training import train

NETWORKS = {
    "resnet10t": (64, (2, 2)),
    "vit_tiny_patch16_224": (48, (3, 3)),
    "swin_tiny_patch4_window7_224": (56, (2, 2)),
    "mobilenetv3_small_050": (64, (2, 2)),
}
"""Name -> side of a picture, and the grid of its last features."""


def encoder(model, size, weights=None):
    torch.manual_seed(0)
    made = Timm(Timm.Config(model=model, weights=weights), Image(Image.Config(size=size)))
    made.initialise()
    return made.eval()


@pytest.mark.parametrize("model", NETWORKS)
def test_features_are_those_of_timm(model):
    size, grid = NETWORKS[model]
    ours, picture = encoder(model, size), torch.randn(2, 3, size, size)
    theirs = ours.body
    with torch.no_grad():
        found, raw = ours(picture), theirs.forward_features(picture)
        pooled = theirs.forward_head(raw, pre_logits=True)
    assert torch.allclose(found.pooled, pooled, atol=1e-6)
    assert found.pooled.shape == (2, ours.dim)
    assert found.grid == grid
    assert found.tokens.shape[:2] == (2, grid[0] * grid[1])
    means = {"resnet10t": (2, 3), "swin_tiny_patch4_window7_224": (1, 2)}
    if model in means:
        assert torch.allclose(found.tokens.mean(1), raw.mean(means[model]), atol=1e-6), "tokens are places"
    if model.startswith("vit"):
        assert torch.equal(found.tokens, raw[:, 1:]), "without the class token"


def test_grey_pictures_count_as_colour():
    ours, grey = encoder("resnet10t", 32), torch.randn(1, 1, 32, 32)
    assert torch.equal(ours(grey).pooled, ours(grey.expand(-1, 3, -1, -1)).pooled)


@pytest.fixture
def folder(tmp_path):
    """A folder as timm writes it for the Hub, of a network with a classifier and random weights."""
    torch.manual_seed(1)
    made = timm.create_model("resnet10t", pretrained=False)
    save_file(made.state_dict(), tmp_path / "model.safetensors")
    known = {"input_size": [3, 48, 40], "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "interpolation": "bilinear"}
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": known}))
    return tmp_path, made


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_weights_come_from_a_file_or_a_folder(folder, name):
    place, made = folder
    found = encoder("resnet10t", 32, str(place / name))
    picture = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        right = made.eval().forward_head(made.forward_features(picture), pre_logits=True)
        assert torch.allclose(found(picture).pooled, right, atol=1e-6)


def test_pictures_are_as_the_weights_know_them_unless_the_experiment_says_otherwise(folder):
    place, _ = folder
    own = json.dumps({"name": "timm", "model": "resnet10t", "weights": str(place)})
    given = "modalities={image: {name: image, std: [0.25]}, text: text, label: label}"
    image = load("clip", [given, f"model.encoders.image={own}"]).experiment.modalities["image"]
    assert (tuple(image.size), image.mean, image.std) == ((48, 40), [0.1, 0.2, 0.3], [0.25])
    assert image.interpolation == "bilinear"


def test_torchvision_says_what_its_weights_know():
    own = "{name: torchvision, model: resnet18, weights: DEFAULT}"
    modalities = "modalities={image: image, text: text, label: label}"
    image = load("clip", [modalities, f"model.encoders.image={own}"]).experiment.modalities["image"]
    assert (image.size, image.mean, image.interpolation) == (224, [0.485, 0.456, 0.406], "bilinear")
    plain = load("clip", [modalities, "model.encoders.image={name: torchvision}"]).experiment.modalities["image"]
    assert plain == Image.Config()


def test_what_cannot_be_taken_is_said(folder, tmp_path):
    place, _ = folder
    with pytest.raises(UserError, match=r"no timm model 'resnet8'.*Did you mean"):
        Timm.Config(model="resnet8")
    with pytest.raises(UserError, match="There are no weights at"):
        Timm.Config(model="resnet10t", weights=str(tmp_path / "weights.pth")).suits()
    with pytest.raises(UserError, match=r"lack \d+ tensors of 'resnet18', such as"):
        encoder("resnet18", 32, str(place))
    (place / "model.safetensors").write_bytes(b"not that")
    with pytest.raises(UserError, match="is not a safetensors file"):
        encoder("resnet10t", 32, str(place))
    with pytest.raises(UserError, match="does not take pictures of 8 x 8"):
        encoder("vit_tiny_patch16_224", 8)


def test_it_learns_like_any_encoder(tmp_path):
    short = ("training.steps=2", "dataset.limit={train: 64, test: 32}", "evaluation.contributions=false")
    own = "model.encoders.image={name: timm, model: mobilenetv3_small_050}"
    done = train("clip", tmp_path, own, "modalities.image.size=32", "training.global_batch=16", *short)
    assert done.outcome.status == "finished"


def test_the_licence_is_that_of_the_weights(folder):
    place, _ = folder
    assert Timm.Config(model="resnet18", weights="default").licence() == "apache-2.0"
    assert Timm.Config(model="resnet10t", weights=str(place)).licence() == ""
    (place / "README.md").write_text("---\nlicense: mit\n---\n")
    assert Timm.Config(model="resnet10t", weights=str(place / "model.safetensors")).licence() == "mit"
    assert Timm.Config(model="resnet10t").licence() == ""
