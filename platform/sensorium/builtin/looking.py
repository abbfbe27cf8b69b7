"""Tasks that look: at a picture, or at what else an encoder reads, by an encoder of their own or a trained task's.

Shapes: B samples, T tokens, D channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sensorium import Batch, Encoder, Features, Modality, Stage, Task, UserError


class Looking(Task):
    """The part of a task that looks.

    Stages: those of `recognition`, where there is one.
    """

    class Config(Task.Config):
        """What is looked at, and by what."""

        image: str = "image"
        """Field that is looked at: a picture, or what else the encoder reads, such as a sound."""
        encoder: Encoder.Config | None = None
        """What sees, from scratch or with published weights; either this or `recognition`."""
        recognition: Task.Config | None = None
        """A task whose encoder sees, with weights or trained first: a network that has learnt to name things."""
        fine_tune: bool | None = None
        """Whether the network that sees is trained along; None trains it where it starts without weights."""

        def __post_init__(self) -> None:
            if (self.encoder is None) == (self.recognition is None):
                raise ValueError("Name either an encoder or a recognition.")

    config: Config

    def __init__(self, config: Config, modalities: Mapping[str, Modality]) -> None:
        super().__init__(config, modalities)
        if config.image not in modalities:
            raise UserError(
                f"The field {config.image!r} has no modality.",
                f"Fields: {', '.join(modalities)}.",
                "Add it to `modalities`, or set model.image.",
            )
        if config.encoder is not None:
            self.encoder: Encoder = config.encoder.build(modalities[config.image])
        else:
            assert config.recognition is not None
            self.recognition: Task = config.recognition.build(modalities)
            self.recognition.encoder_of(config.image)  # refuses what has none

    @property
    def eyes(self) -> Encoder:
        """The network that sees."""
        return self.encoder if self.config.encoder is not None else self.recognition.encoder_of(self.config.image)

    def encoder_of(self, field: str) -> Encoder:
        """Returns the network that sees, for another task."""
        return self.eyes if field == self.config.image else super().encoder_of(field)

    def look(self, batch: Batch) -> Features:
        """Returns what is seen: pooled (B, D), and tokens (B, T, D) where the encoder gives them."""
        features: Features = self.eyes(batch[self.config.image])
        return features

    def seeing(self) -> tuple[list[Stage], list[str]]:
        """Returns the stages that come first, and the names of the parts that see, where they are trained along."""
        config = self.config
        trains = config.fine_tune
        if trains is None:  # a recognition has its weights by then, given or learnt
            trains = config.recognition is None and getattr(config.encoder, "weights", None) is None
        names: Mapping[Any, str] = {id(module): name for name, module in self.named_modules()}
        earlier = [] if config.recognition is None else self.earlier("recognition")
        return earlier, [names[id(self.eyes)]] if trains else []


def seen(modality: Modality, raw: Any) -> bytes | None:
    """Returns what a model sees of a raw value, a picture or a sound's spectrogram, as PNG; None of what is neither."""
    if modality.media_type != "image/png" or modality.form not in ("image", "spectrogram"):
        return None
    png: bytes = modality.encode(modality.transform(modality.decode(raw), None))
    return png
