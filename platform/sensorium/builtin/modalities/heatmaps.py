"""Heat maps: where a model looked in a picture, word by word.

Shapes: L words, H rows and W columns of a map, C channels, h rows and w columns of a picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from sensorium import MediaError, Modality
from sensorium.builtin.modalities.image import Image
from sensorium.builtin.modalities.text import EOS, Text

TILE = 112
"""Side of a tile, in pixels."""
ROW = 6
"""Tiles beside one another."""
LINE = 16
"""Height of the line below a tile, in pixels."""


@dataclass(frozen=True)
class Heat:
    """Maps with the words that they belong to and the picture that they lie over.

    Attributes:
        maps: (L, H, W), each at least 0.
        words: (L,), ids of the words; those after <eos> are not shown.
        picture: (C, h, w), as its modality normalised it.
    """

    maps: Tensor
    words: Tensor
    picture: Tensor


class Heatmaps(Modality):
    """A heat map for each word, over the picture where there is one; shown as one PNG of tiles.

    Args:
        config: No options.
        words: The text that the words belong to.
        picture: What the maps lie over.
    """

    form = "heatmaps"
    media_type = "image/png"
    shape = (None, None, None)

    def __init__(self, config: Heatmaps.Config, words: Text | None = None, picture: Image | None = None) -> None:
        super().__init__(config)
        self.words, self.picture = words, picture

    def decode(self, raw: Any) -> Tensor:
        """Returns (L, H, W), from an array, a tensor or nested lists.

        Raises:
            MediaError: They are not of one size, or below 0.
        """
        try:
            maps = torch.as_tensor(raw, dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError, OverflowError, RecursionError) as cause:
            raise MediaError(
                f"The maps are not numbers of one size: {cause}.", "L maps of H x W were expected."
            ) from cause
        if maps.ndim != 3 or not maps.numel() or not bool((maps >= 0).all()):
            raise MediaError(
                f"The maps have the shape {tuple(maps.shape)}.", "L maps of H x W, at least 0, were expected."
            )
        return maps

    def transform(self, value: Tensor, random: Generator | None) -> Tensor:
        """Returns the maps as they are."""
        return value

    def collate(self, values: Sequence[Tensor]) -> Tensor:
        """Returns (B, L, H, W), with maps of zeros after the last of each."""
        return pad_sequence(list(values), batch_first=True)

    def encode(self, value: Heat | Tensor) -> bytes:
        """Returns the tiles as PNG, each with its word below."""
        if isinstance(value, Tensor):
            return _png([(each, "") for each in map(_grey, value)])
        assert self.words is not None
        assert self.picture is not None
        ids = value.words.tolist()
        count = ids.index(EOS) if EOS in ids else len(ids)
        spoken = [self.words.encode(word[None]) for word in value.words[:count]]
        with Pillow.open(io.BytesIO(self.picture.encode(value.picture))) as opened:
            picture = opened.convert("RGB").resize((TILE, TILE), Pillow.Resampling.NEAREST)
        tiles = [(picture, "")]
        for heat, word in zip(value.maps[:count], spoken, strict=True):
            light = Pillow.eval(_grey(heat).getchannel(0), lambda level: 40 + level * 215 // 255)
            tiles.append((Pillow.composite(picture, Pillow.new("RGB", picture.size), light), word))
        return _png(tiles)

    def example(self, random: Generator) -> list[Any]:
        """Returns three maps of 4 x 4."""
        maps: list[Any] = torch.rand(3, 4, 4, generator=random).tolist()
        return maps

    def json_schema(self) -> dict[str, Any]:
        """Returns that they are maps of numbers."""
        line = {"type": "array", "items": {"type": "number", "minimum": 0}}
        return {"type": "array", "items": {"type": "array", "items": line}}


def _grey(heat: Tensor) -> Pillow.Image:
    """Returns a map (H, W), from 0 to its highest value, as a grey tile."""
    grown = F.interpolate(heat[None, None].float(), (TILE, TILE), mode="bilinear")[0, 0]
    pixels = (grown / grown.max().clamp(min=1e-12) * 255).round().byte()
    return Pillow.fromarray(pixels.numpy()).convert("RGB")


def _png(tiles: Sequence[tuple[Pillow.Image, str]]) -> bytes:
    rows = -(-len(tiles) // ROW)
    sheet = Pillow.new("RGB", (min(len(tiles), ROW) * TILE, rows * (TILE + LINE)), "white")
    pen = ImageDraw.Draw(sheet)
    for place, (tile, word) in enumerate(tiles):
        row, column = divmod(place, ROW)
        sheet.paste(tile, (column * TILE, row * (TILE + LINE)))
        pen.text((column * TILE + TILE // 2, row * (TILE + LINE) + TILE + LINE // 2), word, "black", anchor="mm")
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()
