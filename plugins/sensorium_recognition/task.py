"""The task: an encoder, and a linear map to the classes or tags of each target.

Other tasks take it for a part of theirs: as an encoder that has seen something, as a teacher, as a
judge of what they made.

Shapes: B samples, C classes or tags, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Features, Modality, NamedModules, Rows, Split, Task, UserError
from sensorium.builtin.looking import seen
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.tags import Tags
from sensorium.ops.plots import Tile, cell, in_rows, sheet

SHOWN = 8


class Recognition(Task):
    """Which classes a sample has, and which tags are true of it."""

    class Config(Task.Config):
        """What is looked at, by what, and what is told."""

        input: str = "image"
        """Field that is recognised."""
        encoder: Encoder.Config
        """What looks at it."""
        targets: list[str]
        """Fields of labels or tags to tell."""

        def __post_init__(self) -> None:
            if not self.targets:
                raise ValueError("targets names one field at least.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        for name in (config.input, *config.targets):
            if name not in modalities:
                raise UserError(
                    f"Recognition reads the field {name!r}, which has no modality.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`.",
                )
        self.targets = {name: modalities[name] for name in config.targets}
        for name, modality in self.targets.items():
            if not isinstance(modality, (Label, Tags)):
                raise UserError(
                    f"Recognition cannot tell {name!r}, which is {modality.form}.", "It tells labels and tags."
                )
        self.encoder: Encoder = config.encoder.build(modalities[config.input])
        heads = {name: nn.Linear(self.encoder.dim, each.vocabulary) for name, each in self.targets.items()}
        self.heads = NamedModules(heads)
        self.inputs, self.outputs = {config.input: modalities[config.input]}, dict(self.targets)

    def encoder_of(self, field: str) -> Encoder:
        """Returns the encoder, for another task that looks at the same field."""
        return self.encoder if field == self.config.input else super().encoder_of(field)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns target -> logits (B, C)."""
        return self.logits(batch[self.config.input])

    def logits(self, seen: Tensor) -> dict[str, Tensor]:
        """Returns target -> logits (B, C) of what the input's modality collated, or of pictures that were made."""
        return self.logits_of(self.config.input, self.encoder(seen))

    def logits_of(self, field: str, features: Features) -> dict[str, Tensor]:
        """Returns target -> logits (B, C) of features of the input."""
        if field != self.config.input:
            return dict(super().logits_of(field, features))
        return {name: head(features.pooled) for name, head in self.heads.items()}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns for each target the loss of each sample (B,), in nats; for tags their mean."""
        return {name: self._loss(logits.float(), batch[name]) for name, logits in outputs.items()}

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns what `accuracy` and `average_precision` read."""
        rows: Rows = {}
        for name, logits in outputs.items():
            kind = "logits" if isinstance(self.targets[name], Label) else "scores"
            rows |= {f"{kind}.{name}": logits, f"{'target' if kind == 'logits' else 'truth'}.{name}": batch[name]}
        return rows

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns a few pictures or spectrograms from all over the split with what they are taken for.

        Green where all of it is right; none of waveforms.
        """
        field, tiles = self.config.input, []
        for place in torch.linspace(0, len(split) - 1, min(SHOWN, len(split))).long().tolist():
            said, right = zip(*(self._told(rows, name, place) for name in self.targets), strict=True)
            shown = seen(self.modalities[field], split[place][field])
            if shown is not None:
                tiles.append(Tile(shown, ", ".join(said), "green" if all(right) else "red"))
        drawn = {}
        if tiles:
            drawn = {"recognised.png": sheet(in_rows(tiles, SHOWN // 2), cell(tiles[0].png, 2.2))}
        return {**super().plots(rows, split), **drawn}

    def _told(self, rows: Rows, name: str, place: int) -> tuple[str, bool]:
        """Returns what a sample is taken for, and whether it is that."""
        modality = self.targets[name]
        if isinstance(modality, Label):
            chosen = int(rows[f"logits.{name}"][place].argmax())
            return modality.names[chosen], chosen == int(rows[f"target.{name}"][place])
        chosen_tags = rows[f"scores.{name}"][place] > 0
        names: list[str] = modality.names  # type: ignore[attr-defined]
        words = ", ".join(names[column] for column in chosen_tags.nonzero().squeeze(1).tolist())
        return words, torch.equal(chosen_tags, rows[f"truth.{name}"][place] > 0)

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns what the first sample is taken for."""
        sentences = []
        for name, modality in self.targets.items():
            if isinstance(modality, Label):
                chosen, truth = modality.names[int(rows[f"logits.{name}"][0].argmax())], str(split[0][name])
                sentences.append(f"{rows['id'][0]}: {name} {chosen!r}; it is {truth!r}.")
        return sentences

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the probability of each class, and of each tag by itself, (B, C)."""
        return {
            name: logits.softmax(-1) if isinstance(self.targets[name], Label) else torch.sigmoid(logits)
            for name, logits in self(batch).items()
        }

    @staticmethod
    def _loss(logits: Tensor, target: Tensor) -> Tensor:
        if target.ndim == 1:
            return F.cross_entropy(logits, target, reduction="none")
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(1)
