"""The parts of a model: Encoder, Fusion, Decoder, Loss.

Shapes: B samples, T tokens, D channels.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from torch import nn

from sensorium.contracts.component import Component, Config
from sensorium.contracts.data import Features
from sensorium.contracts.modality import Modality
from sensorium.errors import UserError


class Encoder(Component, nn.Module):
    """One modality's batch -> Features. `forward(batch_of_the_modality)` returns Features.

    Attributes:
        takes: The forms of modality that it reads (see `Modality.form`).
        dim: D of the Features that it returns; set by `__init__`.
    """

    kind = "encoder"
    takes: ClassVar[tuple[str, ...]]
    dim: int

    class Config(Config):
        """Options that every encoder has."""

        def suits(self) -> dict[str, Any]:
            """Returns options of the modality that published weights were trained with; others win over them."""
            return {}

        def licence(self) -> str:
            """Returns the licence of the published weights, as their card names it; empty where it names none."""
            return ""

    def __init__(self, config: Encoder.Config, modality: Modality) -> None:
        super().__init__()
        if modality.form not in self.takes:
            raise UserError(
                f"The encoder {type(self).__name__} does not take {modality.form!r}.",
                f"It takes {', '.join(self.takes)}.",
                "Choose another encoder for this field, or another modality.",
            )
        self.config = config

    def initialise(self) -> None:
        """Takes published weights, where the configuration names some.

        Called on every worker when the training is new, and for what is `given` when it is resumed; never where a
        model's own weights follow.
        """

    def given(self) -> Collection[str]:
        """Returns the names of its parameters and buffers that stay as published weights have them.

        No objective trains them and no checkpoint holds them; a trained model does.
        """
        return ()

    def adapt(self) -> None:
        """Adds what learns beside what is `given`, such as adapters: before a training, when all weights are there."""

    def merge(self) -> None:
        """Puts what `adapt` added into the weights themselves: after a training, the encoder is as it was built."""


def given_in(model: nn.Module) -> frozenset[str]:
    """Returns the names of a model's parameters and buffers that its encoders leave as published weights have them."""
    modules = model.named_modules(remove_duplicate=False)
    found = {place: module.given() for place, module in modules if isinstance(module, Encoder)}
    return frozenset(f"{place}.{name}" for place, names in found.items() for name in names)


class Fusion(Component, nn.Module):
    """Several Features -> joint ones. `forward(features)` takes and returns field -> Features.

    Attributes:
        dims: D of each result by its name; a single joint result is called `joint`.
    """

    kind = "fusion"
    dims: dict[str, int]

    def __init__(self, config: Fusion.Config, dims: Mapping[str, int]) -> None:
        super().__init__()
        self.config = config

    def forward(self, features: Mapping[str, Features]) -> dict[str, Features]:
        """Returns the joint features by name."""
        raise NotImplementedError


class Decoder(Component, nn.Module):
    """Features -> an output modality's tensor (words, an image, a mask, logits).

    Args:
        dim: D of the features that it reads.
        modality: The output modality.
    """

    kind = "decoder"

    def __init__(self, config: Decoder.Config, dim: int, modality: Modality) -> None:
        super().__init__()
        self.config = config


class Loss(Component, nn.Module):
    """Tensors -> a loss for each sample (B,), or their mean as a scalar.

    The engine takes the mean over the global batch, whatever the number of workers.

    Attributes:
        form: What `forward` takes: `pairs` (a (B, D), b (B, D), groups (B,)) of unit-length rows
            and the group of each pair; `classes` (logits (B, C) and target (B,), or logits (B, T, C),
            target (B, T) and mask (B, T), True where a token is real and counts, or None where all
            do; the loss of a sample is the mean over its real tokens); or a form of its own.
        unit: What one unit of the value means.
    """

    kind = "loss"
    form: ClassVar[str]
    unit: ClassVar[str]

    def __init__(self, config: Loss.Config, **context: Any) -> None:
        super().__init__()
        self.config = config
