"""Which class a picture shows.

Shapes: B samples, C classes, D channels.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from sensorium import Batch, Encoder, Loss, Modality, Rows, Task, UserError, hookimpl
from sensorium.builtin.modalities.label import Label


class ExampleName(Task):
    """Which class a picture shows."""

    experiment: ClassVar[Mapping[str, Any]] = {
        "dataset": {"name": "digits"},
        "modalities": {"image": {"name": "image", "size": 8, "channels": 1}, "label": "label"},
        "model": {"encoder": {"name": "convnet", "dim": 64}, "loss": "cross_entropy", "metrics": ["accuracy"]},
        "training": {"epochs": 10, "global_batch": 64, "optimizer": {"lr": 3e-3}},
        "search": {
            "metric": "label_accuracy",
            "mode": "max",
            "space": {"training.optimizer.lr": {"log_uniform": [1e-4, 1e-2]}},
        },
    }

    class Config(Task.Config):
        """The parts."""

        encoder: Encoder.Config
        """What looks at the picture."""
        loss: Loss.Config
        """A loss over classes."""

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        label = modalities.get("label")
        if not isinstance(label, Label) or "image" not in modalities:
            raise UserError("The fields do not fit.", "A picture `image` and a `label` were expected.")
        self.encoder: Encoder = config.encoder.build(modalities["image"])
        self.head = nn.Linear(self.encoder.dim, label.vocabulary)
        self.loss: Loss = config.loss.build()
        self.inputs, self.outputs = {"image": modalities["image"]}, {"label": label}

    def forward(self, batch: Batch) -> Tensor:
        """Returns the logits (B, C)."""
        return self.head(self.encoder(batch["image"]).pooled)

    def losses(self, outputs: Tensor, batch: Batch) -> dict[str, Tensor]:
        """Returns the loss of each sample (B,)."""
        return {"classes": self.loss(outputs, batch["label"])}

    def rows(self, outputs: Tensor, batch: Batch) -> Rows:
        """Returns what `accuracy` reads."""
        return {"logits.label": outputs, "target.label": batch["label"]}

    def predict(self, batch: Batch) -> dict[str, Tensor]:
        """Returns the probability of each class (B, C)."""
        return {"label": self(batch).softmax(-1)}


@hookimpl
def sensorium_tasks() -> dict[str, type[Task]]:
    """Registers the task."""
    return {"example_name": ExampleName}
