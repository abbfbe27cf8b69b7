"""The classification networks of torchvision, without their classifiers or the last layer of these.

Shapes: B samples, H rows and W columns of the last feature map, T = H * W, D channels.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision import models

from sensorium import Features, Modality, UserError, unknown
from sensorium.builtin.encoders.fine_tuning import FineTuned
from sensorium.builtin.encoders.inputs import fixed

HEADS = ("avgpool", "classifier", "fc", "head")
"""Names under which torchvision's networks keep what comes after their last feature map."""

CONNECTED = ("alexnet", "mobilenet_v3", "vgg")
"""What the names of networks with fully connected layers before that of the classes begin with."""

AUXILIARY = {"googlenet", "inception_v3"}
"""Networks with further classifiers on the way and a normalisation of their own."""


class Backbone(FineTuned):
    """A network of torchvision by name, up to its last feature map, pooled by its mean.

    Where it has batch normalisation, the engine takes the statistics over the global batch.
    """

    takes = ("image",)

    class Config(FineTuned.Config):
        """Which network."""

        model: str = "resnet18"
        """Name in torchvision.models, for instance resnet50, convnext_tiny, vit_b_16."""

        weights: str | None = None
        """Name of trained weights of the model, for instance DEFAULT or IMAGENET1K_V1, which are
        downloaded. Size, mean, deviation and interpolation of pictures are theirs, unless the
        experiment says otherwise. None starts from random ones."""

        connected: bool = False
        """Also takes the fully connected layers before that of the classes, which VGG, AlexNet and MobileNetV3 have;
        what the last of them gives, fc7 of VGG, is then pooled, and there are no tokens."""

        def __post_init__(self) -> None:
            known = set(models.list_models(module=models)) - AUXILIARY
            if self.model not in known:
                raise unknown("torchvision model", self.model, known)
            choices = models.get_model_weights(self.model).__members__
            if self.weights is not None and self.weights not in choices:
                raise unknown("set of weights", self.weights, choices, f"the model {self.model}")
            if self.connected and not self.model.startswith(CONNECTED):
                raise UserError(
                    f"The torchvision model {self.model!r} has no fully connected layer before that of the classes.",
                    f"`connected` takes one; names that begin with {', '.join(CONNECTED)} have it.",
                    "Leave `connected` out, or choose another model.",
                )

        def suits(self) -> dict[str, Any]:
            """Returns size, mean, deviation and interpolation of the pictures that the weights were trained on."""
            if self.weights is None:
                return {}
            known = models.get_model_weights(self.model)[self.weights].transforms()
            found = {"size": known.crop_size[0], "mean": list(known.mean), "std": list(known.std)}
            how = known.interpolation.value
            return {**found, "interpolation": how} if how in ("bicubic", "bilinear") else found

    config: Backbone.Config

    def __init__(self, config: Backbone.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        height, width = fixed(modality, 1), fixed(modality, 2)
        try:
            self.body = _body(config, None, (height, width))
            with torch.no_grad():
                self.dim = self.eval()(torch.zeros(1, 3, height, width)).pooled.shape[1]
            self.train()
        except (RuntimeError, ValueError, AssertionError) as cause:
            raise UserError(
                f"The torchvision model {config.model!r} does not take pictures of {height} x {width}: {cause}.",
                hint="Choose another size of picture, or another model.",
            ) from cause
        self.size = (height, width)

    def initialise(self) -> None:
        """Takes torchvision's trained weights, if the configuration names some."""
        if self.config.weights is None:
            return
        try:
            trained = _body(self.config, self.config.weights, self.size)
        except OSError as cause:
            raise UserError(
                f"The weights {self.config.weights!r} of {self.config.model!r} cannot be fetched: {cause}.",
                hint="Check the network, or put the file into the folder of torch.hub.",
            ) from cause
        self.body.load_state_dict(trained.state_dict())

    def forward(self, picture: Tensor) -> Features:
        """Returns pooled (B, D) and, of a map, tokens (B, T, D) and their grid (H, W); grey pictures count as RGB."""
        features: Features = self.body(picture.expand(-1, 3, -1, -1))
        return features


class Map(nn.Sequential):
    """Layers up to a feature map (B, D, H, W)."""

    def forward(self, picture: Tensor) -> Features:
        """Returns the places of the map as tokens, and their mean."""
        grid = super().forward(picture)
        tokens = grid.flatten(2).transpose(1, 2)
        return Features(tokens.mean(1), tokens, None, tuple(grid.shape[2:]))


class Connected(nn.Sequential):
    """Layers up to the last fully connected one before that of the classes."""

    def forward(self, picture: Tensor) -> Features:
        """Returns what that layer gives."""
        return Features(super().forward(picture))


class Patches(nn.Module):
    """A vision transformer with a class token, which is what it pools to."""

    def __init__(self, network: models.VisionTransformer) -> None:
        super().__init__()
        self.embed, self.class_token, self.encoder = network.conv_proj, network.class_token, network.encoder

    def forward(self, picture: Tensor) -> Features:
        """Returns the patches as tokens, and the class token."""
        grid = self.embed(picture)
        tokens = torch.cat([self.class_token.expand(grid.shape[0], -1, -1), grid.flatten(2).transpose(1, 2)], 1)
        tokens = self.encoder(tokens)
        return Features(tokens[:, 0], tokens[:, 1:], None, tuple(grid.shape[2:]))


def _body(config: Backbone.Config, weights: str | None, size: tuple[int, int]) -> nn.Module:
    model = config.model
    if config.connected:
        network = models.get_model(model, weights=weights)
        return Connected(network.features, network.avgpool, nn.Flatten(), *network.classifier[:-1])
    if model.startswith("vit"):
        return Patches(models.get_model(model, weights=weights, image_size=size[0]))
    options: dict[str, Any] = {"input_size": size} if model.startswith("maxvit") else {}
    layers: list[nn.Module] = []
    for name, child in models.get_model(model, weights=weights, **options).named_children():
        if name in HEADS:
            break
        layers.extend(child if isinstance(child, nn.ModuleList) else [child])
    if model.startswith("densenet"):
        layers.append(nn.ReLU())  # which torchvision applies as a function
    return Map(*layers)
