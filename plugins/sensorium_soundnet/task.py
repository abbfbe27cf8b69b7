"""The task: two visual teachers, a network that hears and learns what they see, a classifier on its pool5.

Y. Aytar, C. Vondrick, A. Torralba, SoundNet: Learning Sound Representations from Unlabeled Video, NIPS 2016.

Shapes: B clips, C classes of a head, D channels and T frames of pool5.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sensorium import Batch, Encoder, Loss, Modality, Objective, Rows, Split, Stage, Task, UserError
from sensorium.builtin.modalities.label import Label
from sensorium_soundnet.network import Heads, SoundNet
from sensorium_soundnet.report import confusion, untaught

HEADS = ("object", "scene")


class Distilled(Task):
    """Sound that is recognised by what pictures taught.

    Stages: `object`, `scene`, `student`, `classifier`.
    """

    objective = "student"

    class Config(Task.Config):
        """The teachers, the student, and what is classified in the end."""

        object: Task.Config
        """Teacher of the first head: a task that tells one label, trained first where it comes without `weights`."""
        scene: Task.Config
        """Teacher of the second head."""
        network: Encoder.Config
        """The student: `soundnet`."""
        loss: Loss.Config
        """A loss over distributions, of what a head says and what its teacher does."""
        audio: str = "audio"
        """Field that is heard."""
        label: str = "label"
        """Field that the linear classifier on pool5 learns, from the split of its stage."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        for name in (config.audio, config.label):
            if name not in modalities:
                raise UserError(
                    f"SoundNet reads the field {name!r}, which has no modality.",
                    f"Fields: {', '.join(modalities)}.",
                    "Add it to `modalities`.",
                )
        label = modalities[config.label]
        if not isinstance(label, Label):
            raise UserError(f"The field {config.label!r} is {label.form}.", "The classifier needs a label.")
        self.object: Task = config.object.build(modalities)
        self.scene: Task = config.scene.build(modalities)
        self.network = config.network.build(modalities[config.audio])
        if not isinstance(self.network, SoundNet):
            raise UserError("model.network is not a SoundNet.", "The student is `soundnet`.")
        self.loss: Loss = config.loss.build()
        if self.loss.form != "distributions":
            raise UserError(
                f"model.loss takes {self.loss.form}.",
                "A loss over distributions was expected.",
                "Take `kl_divergence`.",
            )
        self.told = {name: _told(name, getattr(self, name)) for name in HEADS}
        heard = modalities[config.audio]
        if heard.shape[1] is None:
            raise UserError(
                "The clips have no length that is known.",
                "The classifier reads pool5 frame by frame.",
                "Set `seconds` of the modality.",
            )
        with torch.no_grad():
            grid, _ = self.network.frames(torch.zeros(1, 1, heard.shape[1]))
        sizes = {name: self.told[name][1].vocabulary for name in HEADS}
        self.heads = Heads(self.network, sizes)
        self.classifier = nn.Linear(grid[0].numel(), label.vocabulary)
        self.label = label
        self.inputs = {config.audio: modalities[config.audio]}
        self.outputs = {**{name: self.told[name][1] for name in HEADS}, "label": label}

    # ---- training ----------------------------------------------------------------------------

    def stages(self) -> list[Stage]:
        """Returns the teachers' stages, that of the student, and that of the classifier."""
        student = Objective("student", ["network", "heads"], self.taught, self.losses)
        classifier = Objective("classifier", ["classifier"], self.classified, self.classifier_losses)
        return [*self.earlier(*HEADS), Stage("student", [student]), Stage("classifier", [classifier])]

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the logits (B, C) of each head, and of the classifier as `label`."""
        grid, lengths = self.network.frames(batch[self.config.audio])
        return {**self.heads(grid, lengths), "label": self._classify(grid)}

    def taught(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the logits of each head, and what its teacher says of the pictures (B, C), a distribution."""
        return {**self.heads(*self.network.frames(batch[self.config.audio])), **self._teachers(batch)}

    def losses(self, outputs: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        """Returns for each head the divergence of each clip (B,), in nats (Aytar et al. 2016, equation 1)."""
        return {name: self.loss(outputs[name], outputs[f"teacher_{name}"]) for name in HEADS}

    def classified(self, batch: Batch) -> Tensor:
        """Returns the classifier's logits (B, C) on pool5."""
        return self._classify(self.network.frames(batch[self.config.audio])[0])

    def classifier_losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the cross-entropy of each clip (B,), in nats."""
        return {"classes": F.cross_entropy(outputs, batch[self.config.label], reduction="none")}

    def _classify(self, grid: Tensor) -> Tensor:
        flat = grid.flatten(1)
        logits: Tensor = self.classifier(F.layer_norm(flat, flat.shape[1:]))
        return logits

    @torch.no_grad()
    def _teachers(self, batch: Batch) -> dict[str, Tensor]:
        """Returns what the teachers say, where the batch holds what they look at."""
        said = {}
        for name in HEADS:
            teacher: Task = getattr(self, name)
            if all(field in batch for field in teacher.inputs):
                said[f"teacher_{name}"] = teacher(batch)[self.told[name][0]].softmax(-1)
        return said

    # ---- evaluation --------------------------------------------------------------------------

    def rows(self, outputs: Mapping[str, Tensor], batch: Batch) -> Rows:
        """Returns logits of heads, teachers and classifier, with the truth where a field holds it."""
        rows: Rows = {"logits.pool5": outputs["label"], "target.pool5": batch[self.config.label]}
        rows["taught"] = torch.tensor([bool(each.get("taught", True)) for each in batch.samples])
        teachers = self._teachers(batch)
        for name in HEADS:
            field = self.told[name][0]
            said = teachers.get(f"teacher_{name}")
            if field in batch:
                rows |= {f"logits.{name}": outputs[name], f"target.{name}": batch[field]}
                if said is not None:
                    rows |= {f"logits.{name}_teacher": said, f"target.{name}_teacher": batch[field]}
            if said is not None:
                rows |= {f"logits.{name}_agreement": outputs[name], f"target.{name}_agreement": said.argmax(-1)}
        return rows

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns also `untaught_accuracy`, by pool5, of classes that no teacher was taught as the data say."""
        return {**super().metrics(rows), **untaught(rows)}

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns what is taken for what."""
        names = self.label.names
        return {
            **super().plots(rows, split),
            "confusion.png": confusion(rows["logits.pool5"].argmax(-1), rows["target.pool5"], names),
        }

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns what the first clip is taken for, and who spoke."""
        chosen = self.label.names[int(rows["logits.pool5"][0].argmax())]
        sentence = f"{rows['id'][0]}: by pool5 it is {chosen!r}; it is {str(split[0][self.config.label])!r}."
        speech = split[0].get("speech")
        return [sentence] if speech is None else [sentence, f"The speech is {speech}."]

    # ---- use ---------------------------------------------------------------------------------

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the probabilities of each head's classes, and of the classifier's, (B, C)."""
        return {name: logits.softmax(-1) for name, logits in self(batch).items()}


def _told(name: str, teacher: Task) -> tuple[str, Label]:
    """Returns the one label that a teacher tells, with its field."""
    labels = {field: modality for field, modality in teacher.outputs.items() if isinstance(modality, Label)}
    if len(labels) != 1:
        raise UserError(
            f"The teacher model.{name} tells {', '.join(teacher.outputs) or 'nothing'}.",
            "One label was expected.",
            "Set its `targets` to one field of labels.",
        )
    return next(iter(labels.items()))
