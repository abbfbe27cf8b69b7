"""A teacher that has spoken already: its probabilities come with the data.

Soft targets: G. Hinton, O. Vinyals, J. Dean, Distilling the Knowledge in a Neural Network, 2015. An experiment
that wants it says `plugins: [sensorium_soundnet.soft_targets]`: by itself it is not a task to learn.

Shapes: B samples, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from sensorium import Batch, Modality, Stage, Task, UserError, hookimpl
from sensorium.builtin.modalities.label import Label
from sensorium.builtin.modalities.vector import Vector


class SoftTargets(Task):
    """Says what a field of probabilities holds. It learns nothing, so that it has no stage."""

    class Config(Task.Config):
        """Where the probabilities stand."""

        field: str
        """Field of vectors, each a distribution over the classes."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        given = modalities.get(config.field)
        if not isinstance(given, Vector):
            raise UserError(
                f"The field {config.field!r} is {'not there' if given is None else given.form}.",
                "Soft targets are a vector of probabilities.",
                f"Set modalities.{config.field} to a vector.",
            )
        names = Label(Label.Config())
        names.fit([str(number) for number in range(given.config.size)])
        self.inputs, self.outputs = {config.field: given}, {"class": names}

    def stages(self) -> list[Stage]:
        """Returns none."""
        return []

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Returns logits (B, C) whose softmax are the probabilities."""
        return {"class": batch[self.config.field].log()}


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """The teacher, as a task inside another one."""
    return {"soft_targets": SoftTargets}
