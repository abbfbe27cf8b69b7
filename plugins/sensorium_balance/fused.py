"""The task: a class from several inputs, each through an encoder of its own, joined by a fusion.

Shapes: B samples, C classes, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Alone, Batch, Encoder, Features, Fusion, Modality, NamedModules, Rows, Split, Task, UserError
from sensorium.builtin.modalities.label import Label
from sensorium_balance.plot import bars, by_class


class Fused(Task):
    """Which class a sample has, from all inputs together; and, to look into it, from each alone.

    What each says alone is told by a linear map of its own on the encoder's features. By itself it teaches the encoder
    nothing: it measures what the joint training has taught it.
    """

    class Config(Task.Config):
        """The parts."""

        encoders: dict[str, Encoder.Config]
        """Input -> its encoder, for two inputs or more."""
        fusion: Fusion.Config
        """What joins them."""
        target: str = "label"
        """Field of the class to tell."""
        dropout: float = 0.0
        """Chance that a training sample lacks one of its inputs, whose features are zeros then."""

        def __post_init__(self) -> None:
            if len(self.encoders) < 2:
                raise ValueError(f"encoders must name two inputs at least, not {len(self.encoders)}.")
            if not 0 <= self.dropout < 1:
                raise ValueError("dropout lies in [0, 1).")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        label = modalities[config.target]
        if not isinstance(label, Label):
            raise UserError(f"The field {config.target!r} is {label.form}.", "The target is a label.", "Set it.")
        self.fields = tuple(config.encoders)
        encoders = {name: encoder.build(modalities[name]) for name, encoder in config.encoders.items()}
        self.encoders = NamedModules(encoders)
        self.fusion: Fusion = config.fusion.build({name: encoder.dim for name, encoder in encoders.items()})
        if set(self.fusion.dims) != {"joint"}:
            raise UserError("model.fusion does not join the inputs.", "One joint result was expected.", "Take another.")
        self.head = nn.Linear(self.fusion.dims["joint"], label.vocabulary)
        self.own = NamedModules({name: nn.Linear(encoder.dim, label.vocabulary) for name, encoder in encoders.items()})
        self.inputs = {name: modalities[name] for name in self.fields}
        self.outputs = {config.target: label}

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder of one of the inputs."""
        return self.encoders[field] if field in self.fields else super().encoder_of(field)  # type: ignore[return-value]

    def forward(self, batch: Batch) -> dict[str, Any]:
        """Returns the logits of all inputs together (B, C), and the features of each (B, D)."""
        seen = {name: self.encoders[name](batch[name]).pooled for name in self.fields}
        joint = self.fusion({name: Features(each) for name, each in self._dropped(seen, batch).items()})["joint"]
        return {"logits": self.head(joint.pooled), "seen": seen}

    def _dropped(self, seen: Mapping[str, Tensor], batch: Batch) -> Mapping[str, Tensor]:
        if not (self.training and self.config.dropout):
            return seen
        drops, which = batch.uniform("dropout", 2).unbind(1)
        lost = torch.where(drops < self.config.dropout, (which * len(seen)).long(), len(seen))  # (B,)
        return {name: each * (lost != place)[:, None] for place, (name, each) in enumerate(seen.items())}

    def alone(self, outputs: Mapping[str, Any], batch: Batch) -> Alone:
        """Returns the logits of each input's own map."""
        logits = {name: self.own[name](seen) for name, seen in outputs["seen"].items()}
        return Alone(logits, batch[self.config.target])

    def losses(self, outputs: Mapping[str, Any], batch: Batch) -> dict[str, Tensor]:
        """Returns the cross entropies (B,) of all together, and of each input's own map on fixed features."""
        target = batch[self.config.target]
        terms = {"joint": F.cross_entropy(outputs["logits"], target, reduction="none")}
        for name, seen in outputs["seen"].items():
            terms[f"own_{name}"] = F.cross_entropy(self.own[name](seen.detach()), target, reduction="none")
        return terms

    def rows(self, outputs: Mapping[str, Any], batch: Batch) -> Rows:
        """Returns logits and targets, of all inputs together and of each alone."""
        alone = self.alone(outputs, batch)
        rows: Rows = {f"logits.{self.config.target}": outputs["logits"]}
        rows |= {f"logits.{name}_alone": logits for name, logits in alone.logits.items()}
        return {**rows, **{name.replace("logits", "target", 1): alone.target for name in rows}}

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns `alone.png`: the share of each class that all inputs together tell, and each alone."""
        names: list[str] = self.outputs[self.config.target].names  # type: ignore[attr-defined]
        right = {
            name.partition(".")[2]: by_class(rows, name, len(names)) for name in rows if name.startswith("logits.")
        }
        right["together"] = right.pop(self.config.target)
        return {**super().plots(rows, split), "alone.png": bars(right, names)}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the probability of each class, (B, C)."""
        return {self.config.target: self(batch)["logits"].softmax(-1)}
