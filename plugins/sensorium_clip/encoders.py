"""The encoders `clip_image` and `clip_text`: CLIP's towers, from random weights or from published ones.

Shapes: B samples, D channels of the common space.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from sensorium import Features, Modality, Padded, UserError
from sensorium.builtin.encoders.fine_tuning import FineTuned
from sensorium.builtin.encoders.inputs import embedding, fixed
from sensorium_clip.published import Published, Tower
from sensorium_clip.resnet import STRIDE, ResNet
from sensorium_clip.towers import TextTransformer, VisionTransformer


class ClipTower(FineTuned):
    """What both towers share: sizes that published weights bring, and the weights."""

    tower: ClassVar[Tower]
    body: nn.Module
    grid: tuple[int, int] | None = None

    class Config(FineTuned.Config):
        """Sizes, which are those of the weights where the experiment does not say otherwise."""

        weights: str | None = None
        """A folder or safetensors file in the layout of open_clip, OpenAI or transformers' CLIPModel, or
        `hf-hub:OWNER/NAME`, which is downloaded. Sizes, and what the modality does, are theirs, unless the experiment
        says otherwise. None starts from random ones."""

        width: int | None = None
        """Channels inside; None takes those of the weights, or of ViT-B/32."""

        heads: int | None = None
        """Attention heads, which divide the channels; None takes those of the weights, or of ViT-B/32."""

        dim: int | None = None
        """D, channels of the common space; None takes those of the weights, or 512."""

        quick_gelu: bool | None = None
        """Whether blocks have the approximation of GELU that OpenAI trained with; None takes what the weights say, or
        false."""

    config: Config

    def initialise(self) -> None:
        """Takes published weights, if the configuration names some.

        Raises:
            UserError: They cannot be had, or are of another network.
        """
        if self.config.weights is not None:
            Published(self.config.weights).fill(self.body, self.tower, self.grid)


class ClipImage(ClipTower):
    """CLIP's vision transformer or its residual network, with the projection into the common space.

    Radford et al. 2021, section 2.4. Grey pictures count as RGB. Tokens of the transformer are its patches, projected.
    """

    tower = "image"
    takes = ("image",)
    probe: ClassVar[Mapping[str, Any]] = {"depth": 2, "width": 32, "heads": 2, "patch": 8, "dim": 16}

    class Config(ClipTower.Config):
        """Sizes; those of ViT-B/32 if nothing says otherwise."""

        depth: int | tuple[int, int, int, int] | None = None
        """Number of blocks, or of bottlenecks in each stage of a residual network, [3, 4, 6, 3] in RN50; None takes
        those of the weights, or 12."""

        patch: int | None = None
        """Side of a patch in pixels, 32 in a residual network; None takes that of the weights, or 32."""

        def __post_init__(self) -> None:
            _complete(self, "image", {"depth": 12, "width": 768, "heads": 12, "patch": STRIDE})
            if not isinstance(self.depth, int) and self.patch != STRIDE:
                raise ValueError(f"patch is {STRIDE} in a residual network.")

        def suits(self) -> dict[str, Any]:
            """Returns size, mean, deviation and interpolation of the pictures that the weights were trained on."""
            return {} if self.weights is None else dict(Published(self.weights).said.pictures)

    config: Config

    def __init__(self, config: Config, modality: Modality) -> None:
        super().__init__(config, modality)
        size = fixed(modality, 1), fixed(modality, 2)
        sizes: dict[str, Any] = {name: getattr(config, name) for name in ("depth", "width", "heads", "dim")}
        patches, patch = isinstance(config.depth, int), config.patch or STRIDE
        if min(size) < patch or (not patches and (size[0] % patch or size[1] % patch)):
            raise UserError(
                f"clip_image does not take pictures of {size[0]} x {size[1]}.",
                f"Its {'patches have' if patches else 'sides are multiples of'} {patch} pixels.",
                "Choose another size of picture.",
            )
        if patches:
            sizes |= {"patch": patch, "quick_gelu": config.quick_gelu}
        body: VisionTransformer | ResNet = (VisionTransformer if patches else ResNet)(size, **sizes)
        self.body, self.grid, self.dim = body, body.grid, sizes["dim"]

    def forward(self, picture: Tensor) -> Features:
        """Returns pooled (B, D) and, of a vision transformer, its patches as tokens on their grid."""
        features: Features = self.body(picture.expand(-1, 3, -1, -1))
        return features


class ClipText(ClipTower):
    """CLIP's causal transformer over text, with the projection into the common space.

    Radford et al. 2021, section 2.4. Published weights read the ids of the modality `clip_text`.
    """

    tower = "text"
    takes = ("tokens",)
    probe: ClassVar[Mapping[str, Any]] = {"depth": 2, "width": 32, "heads": 2, "dim": 16}

    class Config(ClipTower.Config):
        """Sizes; those of ViT-B/32 if nothing says otherwise."""

        depth: int | None = None
        """Number of blocks; None takes that of the weights, or 12."""

        def __post_init__(self) -> None:
            _complete(self, "text", {"depth": 12, "width": 512, "heads": 8})

        def suits(self) -> dict[str, Any]:
            """Returns vocabulary and largest length of the texts that the weights were trained on."""
            if self.weights is None:
                return {}
            published = Published(self.weights)
            length = {} if published.said.length is None else {"max_length": published.said.length}
            return {**length, **({"pretrained": self.weights} if published.tokenizer else {})}

    config: Config

    def __init__(self, config: Config, modality: Modality) -> None:
        super().__init__(config, modality)
        sizes: dict[str, Any] = {name: getattr(config, name) for name in ("depth", "heads", "dim", "quick_gelu")}
        self.body = TextTransformer(embedding(modality, config.width or 0), fixed(modality, 0), **sizes)
        self.dim = sizes["dim"]

    def forward(self, batch: Padded) -> Features:
        """Returns pooled (B, D) and tokens (B, T, D)."""
        features: Features = self.body(batch)
        return features


def _complete(config: ClipTower.Config, tower: Tower, usual: Mapping[str, int]) -> None:
    """Fills in the sizes that an experiment leaves out, so that a trained model is built without the weights.

    Raises:
        ValueError: Sizes make no network, or nobody says which activation the weights were trained with.
    """
    sizes = {**usual, "dim": 512, "quick_gelu": False}
    absent = [name for name in sizes if getattr(config, name) is None]
    if config.weights is not None and absent:
        told = getattr(Published(config.weights).said, tower)
        if not told and "quick_gelu" in absent:
            raise ValueError(
                f"No configuration lies beside {config.weights}, and the weights alone do not tell their activation:"
                " set quick_gelu=true for OpenAI's, false for LAION's"
            )
        sizes |= told
    for name in absent:
        object.__setattr__(config, name, sizes[name])
    made = {name: getattr(config, name) for name in sizes if name != "quick_gelu"}
    depth, heads, width = made.pop("depth"), made["heads"], made["width"]
    if min(*made.values(), *([depth] if isinstance(depth, int) else depth)) < 1:
        raise ValueError(f"depth, {', '.join(made)} are at least 1")
    if (width := width if isinstance(depth, int) else width * STRIDE) % heads:
        raise ValueError(f"heads is {heads}, which does not divide {width} channels")
