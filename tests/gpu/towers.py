"""open_clip's CLIP as a plugin: its own towers as encoders, and samples that cost nothing to read.

Shapes: B samples, L tokens, D channels.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from sensorium import Dataset, Encoder, Features, Modality, Sample, hookimpl

SIZES: dict[str, dict[str, Any]] = {
    "ViT-B-16": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 16},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
    },
    "tiny": {
        "embed_dim": 32,
        "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 128, "width": 32, "heads": 2, "layers": 2},
    },
}
"""Name -> what open_clip is given; the first is Radford et al. 2021, table 20."""


def clip(size: str) -> Any:
    """Returns open_clip's model with random weights."""
    from open_clip import CLIP
    from open_clip.model import CLIPTextCfg, CLIPVisionCfg

    given = SIZES[size]
    vision, text = CLIPVisionCfg(**given["vision_cfg"]), CLIPTextCfg(**given["text_cfg"])
    torch.manual_seed(0)
    return CLIP(given["embed_dim"], vision, text)


@cache
def held(size: str) -> list[dict[str, Tensor]]:
    """Returns a few samples: random pictures and token ids that end in the highest one, as open_clip's do."""
    vision, text = SIZES[size]["vision_cfg"], SIZES[size]["text_cfg"]
    random = torch.Generator().manual_seed(0)
    side, length, most = vision["image_size"], text["context_length"], text["vocab_size"]
    images = torch.randn(64, 3, side, side, generator=random)
    ids = torch.randint(1, most - 1, (64, length), generator=random)
    ids[:, -1] = most - 1
    return [{"image": image, "ids": each} for image, each in zip(images, ids, strict=True)]


class Held:
    """A split of as many samples as wanted, which repeat."""

    def __init__(self, size: str, samples: int) -> None:
        self.size, self.samples = size, samples

    def __len__(self) -> int:
        return self.samples

    def __getitem__(self, index: int) -> Sample:
        return {"id": str(index), **held(self.size)[index % 64]}


class HeldPairs(Dataset):
    """Pairs that lie in memory."""

    fields: ClassVar[dict[str, str]] = {"image": "ready", "ids": "ready"}

    class Config(Dataset.Config):
        """Which, and how many."""

        size: str
        """Of the model."""
        samples: int
        """Of the training split."""

    config: Config

    def open(self, split: str) -> Held:
        """Returns a split."""
        return Held(self.config.size, self.config.samples)


class Ready(Modality):
    """A tensor as it goes into the model."""

    form = "ready"
    shape = (None,)

    def transform(self, value: Tensor, random: torch.Generator | None) -> Tensor:
        """Returns it."""
        return value

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B, ...)."""
        return torch.stack(list(values))


class Tower(Encoder):
    """One of open_clip's towers."""

    takes = ("ready",)

    class Config(Encoder.Config):
        """Which one."""

        size: str
        """Of the model."""
        sees: bool
        """Whether it is the one for pictures."""

    def __init__(self, config: Config, modality: Modality) -> None:
        super().__init__(config, modality)
        whole = clip(config.size)
        self.dim, self.sees = SIZES[config.size]["embed_dim"], config.sees
        if config.sees:
            whole = whole.visual
        else:
            del whole.visual, whole.logit_scale
        self.tower = whole

    def forward(self, values: Tensor) -> Features:
        """Returns pooled (B, D)."""
        return Features(self.tower(values) if self.sees else self.tower.encode_text(values))


@hookimpl
def sensorium_datasets() -> dict[str, type[Dataset]]:
    """Pairs in memory."""
    return {"held_pairs": HeldPairs}


@hookimpl
def sensorium_modalities() -> dict[str, type[Modality]]:
    """Tensors."""
    return {"ready": Ready}


@hookimpl
def sensorium_encoders() -> dict[str, type[Encoder]]:
    """The towers."""
    return {"open_clip_tower": Tower}
