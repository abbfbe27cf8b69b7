"""A decoder to classes: two layers over what the features say of the whole sample.

Shapes: B samples, C classes, D channels.
"""

from torch import Tensor, nn

from sensorium import Decoder, Features, Modality, UserError, hookimpl
from sensorium.builtin.modalities.label import Label


class ExampleName(Decoder):
    """Logits of classes, by two layers."""

    class Config(Decoder.Config):
        """Sizes."""

        hidden: int = 128
        """Number of channels between the layers."""

    def __init__(self, config: Config, dim: int, modality: Modality) -> None:
        super().__init__(config, dim, modality)
        if not isinstance(modality, Label):
            raise UserError(f"It does not decode to {modality.form}.", "It decodes to labels.")
        self.layers = nn.Sequential(
            nn.Linear(dim, config.hidden), nn.ReLU(), nn.Linear(config.hidden, modality.vocabulary)
        )

    def forward(self, features: Features) -> Tensor:
        """Returns the logits (B, C)."""
        return self.layers(features.pooled)


@hookimpl
def sensorium_decoders() -> dict[str, type[Decoder]]:
    """Registers the decoder."""
    return {"example_name": ExampleName}
