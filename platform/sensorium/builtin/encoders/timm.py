"""The networks of timm, without their classifiers.

R. Wightman, PyTorch Image Models, 2019, github.com/huggingface/pytorch-image-models.

Shapes: B samples, C channels, H rows and W columns of the last feature map, T = H * W tokens, D channels.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from sensorium import Features, Modality, UserError, expanded, unknown
from sensorium.builtin.encoders.fine_tuning import FineTuned
from sensorium.builtin.encoders.inputs import fixed
from sensorium.builtin.libraries import installed
from sensorium.builtin.pretrained import licence

if TYPE_CHECKING:
    from torch import nn

DEFAULT = "default"
"""What stands for the weights that timm names for a model."""
FILE, CONFIG = "model.safetensors", "config.json"
"""What a folder with weights holds, as timm and the Hugging Face Hub write it."""


class Timm(FineTuned):
    """A network of timm by name: its last features as tokens, and what its classifier would read."""

    takes = ("image",)

    class Config(FineTuned.Config):
        """Which network, and which weights."""

        model: str = "resnet18"
        """Name in timm, for instance resnet50, convnext_tiny, vit_base_patch16_224.augreg_in21k."""

        weights: str | None = None
        """`default`: those that timm names for the model, which are downloaded; or a safetensors file, or a folder with
        model.safetensors. Size, mean, deviation and interpolation of pictures are theirs, unless the experiment says
        otherwise. None starts from random ones."""

        def __post_init__(self) -> None:
            known = _timm().list_models() + _timm().list_pretrained()
            if self.model not in known:
                error = unknown("timm model", self.model, known)
                raise UserError(error.wrong, "`timm.list_models()` lists them, a thousand and more.", error.hint)

        def suits(self) -> dict[str, Any]:
            """Returns size, mean, deviation and interpolation of the pictures that the weights were trained on.

            Raises:
                UserError: There are no such weights. A trained model that began with them does without.
            """
            if self.weights not in (None, DEFAULT):
                _file(str(self.weights))
            return {} if self.weights is None else _pictures(self.model, self.weights)

        def licence(self) -> str:
            """Returns the licence of the weights, as timm or the card beside them names it."""
            if self.weights is None:
                return ""
            if self.weights != DEFAULT:
                return licence(str(Path(_file(self.weights)).parent))
            own = _timm().get_pretrained_cfg(self.model, allow_unregistered=True)
            return str(getattr(own, "license", None) or "")

    config: Timm.Config

    def __init__(self, config: Timm.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        height, width = self.size = fixed(modality, 1), fixed(modality, 2)
        try:
            self.body = _made(config.model, self.size)
            with torch.no_grad():
                self.dim = self.eval()(torch.zeros(1, 3, height, width)).pooled.shape[1]
            self.train()
        except (RuntimeError, ValueError, AssertionError) as cause:
            raise UserError(
                f"The timm model {config.model!r} does not take pictures of {height} x {width}: {cause}.",
                hint="Choose another size of picture, or another model.",
            ) from cause

    def initialise(self) -> None:
        """Takes trained weights, if the configuration names some.

        Raises:
            UserError: They cannot be fetched, or are of another model.
        """
        model, weights = self.config.model, self.config.weights
        if weights is None:
            return
        if weights != DEFAULT:
            _whole(weights, self.body, model)
        try:
            trained = _made(model, self.size, weights)
        except Exception as cause:  # whatever the Hub's client raises without a network
            raise UserError(
                f"The weights {weights!r} of {model!r} cannot be taken: {type(cause).__name__}: {str(cause)[:200]}.",
                hint="Check the network, or give a safetensors file, or a folder with one.",
            ) from cause
        self.body.load_state_dict(trained.state_dict())

    def forward(self, picture: Tensor) -> Features:
        """Returns pooled (B, D) and tokens (B, T, C), on a grid (H, W) where there is one; grey counts as RGB."""
        body: Any = self.body
        found = body.forward_features(picture.expand(-1, 3, -1, -1))
        pooled = body.forward_head(found, pre_logits=True)
        if found.ndim == 4:
            rows_first = found.shape[-1] == body.num_features != found.shape[1]  # (B, H, W, C), as Swin has it
            grid = found if rows_first else found.permute(0, 2, 3, 1)
            return Features(pooled, grid.flatten(1, 2), None, tuple(grid.shape[1:3]))
        tokens = found[:, getattr(body, "num_prefix_tokens", 0) :]
        grid_size = getattr(getattr(body, "patch_embed", None), "grid_size", None)
        places = tuple(grid_size) if grid_size and grid_size[0] * grid_size[1] == tokens.shape[1] else None
        return Features(pooled, tokens, None, places)


def _timm() -> Any:
    return installed("timm", "timm")


def _made(model: str, size: tuple[int, int], weights: str | None = None) -> nn.Module:
    """Returns a network for pictures of a size where it asks for one; with weights, which timm brings to that size."""
    options: dict[str, Any] = {"pretrained": weights is not None, "num_classes": 0}
    if weights not in (None, DEFAULT):
        options["pretrained_cfg_overlay"] = {"file": _file(str(weights))}
    try:
        made: nn.Module = _timm().create_model(model, img_size=size, **options)
    except TypeError:  # a convolutional network takes any size
        made = _timm().create_model(model, **options)
    return made


def _whole(weights: str, body: nn.Module, model: str) -> None:
    """Checks that a file holds each parameter of a network; timm leaves those that it does not find as they are.

    Raises:
        UserError: It lacks one, or is not safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(_file(weights), "pt") as file:
            held = set(file.keys())
    except SafetensorError as cause:
        raise UserError(f"{_file(weights)} is not a safetensors file: {cause}.", "", "Choose another one.") from cause
    if absent := [name for name, _ in body.named_parameters() if name not in held]:
        raise UserError(
            f"The weights {weights!r} lack {len(absent)} tensors of {model!r}, such as {absent[0]}.",
            f"They hold {', '.join(sorted(held)[:3]) or 'nothing'}.",
            "Choose the model that they were trained for.",
        )


def _file(weights: str) -> str:
    """Returns the safetensors file of weights.

    Raises:
        UserError: There is none.
    """
    path = Path(expanded(weights))
    path = path / FILE if path.is_dir() else path
    if path.suffix != ".safetensors" or not path.is_file():
        raise UserError(
            f"There are no weights at {weights}.",
            f"`default`, a safetensors file, or a folder with {FILE} was expected; no other kind of file is opened.",
            "Correct the path, or convert them.",
        )
    return str(path)


def _pictures(model: str, weights: str) -> dict[str, Any]:
    """Returns options of the modality `image`, as the weights' own configuration or timm's has them."""
    beside = Path(expanded(weights)) / CONFIG
    told: dict[str, Any] = {}
    if weights != DEFAULT and beside.is_file():
        try:
            told = dict(json.loads(beside.read_text(encoding="utf-8")).get("pretrained_cfg") or {})
        except (ValueError, TypeError, AttributeError) as cause:
            raise UserError(f"{beside} is not the configuration of a model: {cause}.", "", "Remove it.") from cause
    own = _timm().get_pretrained_cfg(model, allow_unregistered=True)
    known = {**(own.to_dict() if own else {}), **told}
    _, height, width = known["input_size"]
    found = {"size": [height, width], "mean": list(known["mean"]), "std": list(known["std"])}
    how = known["interpolation"]
    return {**found, "interpolation": how} if how in ("bicubic", "bilinear") else found
