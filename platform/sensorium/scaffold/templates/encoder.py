"""An encoder of pictures: patches, each by itself, and their mean.

Shapes: B samples, C channels, H and W rows and columns, T patches, D channels of a feature.
"""

from torch import Tensor, nn

from sensorium import Encoder, Features, Modality, hookimpl


class ExampleName(Encoder):
    """Patches of a picture, each through the same two layers; their mean describes the picture."""

    takes = ("image",)

    class Config(Encoder.Config):
        """Sizes."""

        patch: int = 4
        """Side of a patch, in pixels."""
        dim: int = 128
        """Number of channels of the features."""

    def __init__(self, config: Config, modality: Modality) -> None:
        super().__init__(config, modality)
        self.dim = config.dim
        self.cut = nn.Conv2d(modality.shape[0], config.dim, config.patch, stride=config.patch)
        self.layers = nn.Sequential(nn.GELU(), nn.Linear(config.dim, config.dim))

    def forward(self, batch: Tensor) -> Features:
        """Returns `pooled` (B, D) and `tokens` (B, T, D) on a grid, for pictures (B, C, H, W)."""
        patches = self.cut(batch)  # (B, D, H / patch, W / patch)
        tokens = self.layers(patches.flatten(2).transpose(1, 2))
        return Features(tokens.mean(1), tokens, grid=tuple(patches.shape[2:]))


@hookimpl
def sensorium_encoders() -> dict[str, type[Encoder]]:
    """Registers the encoder."""
    return {"example_name": ExampleName}
