"""What both methods share: a task around another one, that is evaluated and asked like that one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from sensorium import Alone, Batch, Encoder, Modality, Rows, Split, Task


class Around(Task):
    """A task that trains another one in a way of its own."""

    class Config(Task.Config):
        """What is trained."""

        inner: Task.Config
        """A task that says what each of its inputs tells alone (`alone`), such as `fused`."""

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        self.inner: Task = config.inner.build(modalities)
        self.inputs, self.optional, self.outputs = self.inner.inputs, self.inner.optional, self.inner.outputs

    def encoder_of(self, field: str) -> Encoder:
        """Returns the inner task's encoder."""
        return self.inner.encoder_of(field)

    def alone(self, outputs: Any, batch: Batch) -> Alone:
        """Returns what the inner task says of each input alone."""
        return self.inner.alone(outputs, batch)

    def forward(self, batch: Batch) -> Any:
        """Returns the inner task's outputs."""
        return self.inner(batch)

    def losses(self, outputs: Any, batch: Batch) -> Mapping[str, Tensor]:
        """Returns the inner task's losses."""
        return self.inner.losses(outputs, batch)

    def rows(self, outputs: Any, batch: Batch) -> Rows:
        """Returns the inner task's rows."""
        return self.inner.rows(outputs, batch)

    def metrics(self, rows: Rows) -> dict[str, float]:
        """Returns the inner task's metrics, and those of the experiment."""
        return {**self.inner.metrics(rows), **super().metrics(rows)}

    def plots(self, rows: Rows, split: Split) -> dict[str, bytes]:
        """Returns the inner task's plots, and those of the experiment's metrics."""
        return {**self.inner.plots(rows, split), **super().plots(rows, split)}

    def examples(self, rows: Rows, split: Split) -> list[str]:
        """Returns the inner task's examples."""
        return self.inner.examples(rows, split)

    def predict(self, batch: Batch) -> dict[str, Any]:
        """Returns the inner task's answers."""
        return self.inner.predict(batch)
