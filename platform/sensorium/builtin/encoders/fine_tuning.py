"""How much of a pre-trained network is trained: all of it, nothing, or low-rank matrices beside its layers."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import field
from typing import Literal

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from sensorium import Config, Encoder, Modality, UserError, unknown
from sensorium.builtin.libraries import installed

ADAPTER = re.compile(r"\.lora_[AB]\.")
"""What the names of adapters' parameters hold, as peft writes them."""


class LoRA(Config):
    """Low-rank matrices beside layers, with `fine_tune: lora` (E. Hu et al., LoRA, ICLR 2022, section 4.1)."""

    rank: int = 8
    """r: a layer of n inputs and m outputs learns r * (n + m) weights."""
    alpha: float = 16.0
    """What the matrices add is scaled by alpha / rank."""
    targets: list[str] = field(default_factory=list)
    """Layers that get them, each by the last part of its name or more of it, such as qkv or attn.proj; none stands for
    all linear layers, or, where there are none, all convolutions."""

    def __post_init__(self) -> None:
        if self.rank < 1 or self.alpha <= 0:
            raise ValueError("rank is at least 1, and alpha above 0")


class FineTuned(Encoder):
    """An encoder around a library's network, `body`, that starts from trained weights, which its options name.

    Trained models hold plain weights: what adapters learnt is added to them at the end of the training.
    """

    body: nn.Module

    class Config(Encoder.Config):
        """How much is trained."""

        fine_tune: Literal["full", "frozen", "lora"] = "full"
        """What is trained of a network that starts from `weights`: full, all of it; frozen, nothing, and batch
        normalisation keeps its statistics; lora, low-rank matrices beside its layers, and nothing else of it (by peft:
        pip install 'sensorium[hf]')."""
        lora: LoRA = field(default_factory=LoRA)
        """Those matrices."""

    config: FineTuned.Config

    def __init__(self, config: FineTuned.Config, modality: Modality) -> None:
        super().__init__(config, modality)
        if config.fine_tune != "full" and getattr(config, "weights", None) is None:
            raise UserError(
                f"fine_tune={config.fine_tune} leaves the network as it is, which starts from random weights.",
                "Trained ones were expected.",
                "Name them by `weights`, or set fine_tune=full.",
            )

    def train(self, mode: bool = True) -> FineTuned:
        """Sets the mode; what stays as it is given stays in evaluation mode, batch normalisation above all."""
        super().train(mode)
        if self.config.fine_tune == "frozen":
            self.body.eval()
        elif self.config.fine_tune == "lora":
            for module in self.body.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self

    def given(self) -> Collection[str]:
        """Returns the names of the network's tensors, apart from adapters, unless all of it is trained."""
        if self.config.fine_tune == "full":
            return ()
        names = (f"body.{name}" for name in self.body.state_dict())
        return frozenset(name for name in names if not ADAPTER.search(name))

    def adapt(self) -> None:
        """Adds adapters, if the configuration asks for them; until they have learnt something they change nothing.

        Raises:
            UserError: peft is not installed, or a target is not there.
        """
        if self.config.fine_tune != "lora":
            return
        peft, own = installed("peft", "hf"), self.config.lora
        layers = "|".join(map(re.escape, _targets(self.body, own.targets)))
        options = peft.LoraConfig(r=own.rank, lora_alpha=own.alpha, target_modules=layers)
        peft.inject_adapter_in_model(options, self.body)

    def merge(self) -> None:
        """Adds what the adapters learnt to the weights of their layers, and takes the adapters away."""
        if self.config.fine_tune != "lora":
            return
        for name, layer in list(self.body.named_modules()):
            if hasattr(layer, "base_layer"):
                layer.merge()  # type: ignore[operator]
                self.body.set_submodule(name, layer.base_layer)  # type: ignore[arg-type]
        del self.body.peft_config  # peft's mark of a network that has adapters


def _targets(body: nn.Module, wanted: Collection[str]) -> list[str]:
    """Returns the names of the layers that get adapters.

    Raises:
        UserError: One that is wanted is not there.
    """
    # Attention of torch computes with the weights of its layers, past their forward pass.
    whole = tuple(f"{name}." for name, module in body.named_modules() if isinstance(module, nn.MultiheadAttention))
    layers = {name: module for name, module in body.named_modules() if not name.startswith(whole)}
    linear = [name for name, module in layers.items() if isinstance(module, nn.Linear)]
    convolutions = [name for name, module in layers.items() if isinstance(module, nn.Conv2d) and module.groups == 1]
    if not wanted:
        return linear or convolutions
    chosen: list[str] = []
    for target in wanted:
        found = [name for name in (*linear, *convolutions) if f".{name}".endswith(f".{target}")]
        if not found:
            known = {name.rpartition(".")[2] for name in (*linear, *convolutions)}
            raise unknown("linear layer or convolution", target, known, "lora.targets")
        chosen += found
    return list(dict.fromkeys(chosen))
