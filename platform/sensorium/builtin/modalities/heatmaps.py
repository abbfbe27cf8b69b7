"""Heat maps: where a model looked in a picture, or listened in a spectrogram, word by word.

Shapes: L words, H rows and W columns of a map, C channels, h rows and w columns of a picture.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image as Pillow
from PIL import ImageDraw
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence

from sensorium import Geometry, MediaError, Modality, Padded
from sensorium.builtin.modalities.text import EOS, Text
from sensorium.ops import heat

TILE = 112
"""Height of a tile, in pixels."""
WIDEST = 448
"""Largest width of a tile, in pixels."""
SHEET = 672
"""Largest width of several tiles beside one another, in pixels."""
LINE = 16
"""Height of the line below a tile, in pixels."""


@dataclass(frozen=True)
class Heat:
    """Maps with the words that they belong to and the picture that they lie over.

    Attributes:
        maps: (L, H, W), each at least 0.
        words: (L,), ids of the words; those after <eos> are not shown.
        picture: (C, h, w), as its modality normalised it; where the width varies with its mask (w,), whose false
            columns are not shown.
    """

    maps: Tensor
    words: Tensor
    picture: Tensor | Padded


class Heatmaps(Modality):
    """A heat map for each word, over the picture where there is one; shown as one PNG of tiles with a scale.

    Args:
        config: No options.
        words: The text that the words belong to.
        picture: What the maps lie over: pictures, or sounds as spectrograms, whose first row is the lowest.
        follows: Field of the picture, for maps that are shown on it as it was sent.
    """

    form = "heatmaps"
    media_type = "image/png"
    shape = (None, None, None)

    def __init__(
        self,
        config: Heatmaps.Config,
        words: Text | None = None,
        picture: Modality | None = None,
        follows: str | None = None,
    ) -> None:
        super().__init__(config)
        self.words, self.picture, self.follows = words, picture, follows

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

    def put_back(self, value: Heat, geometry: Geometry) -> Heat:
        """Returns picture and maps in the shape of the picture that was sent; what was not seen of it is grey."""
        assert isinstance(value.picture, Tensor)
        height, width = geometry.given
        size = (TILE, min(WIDEST, max(1, round(TILE * width / height))))
        matrix = torch.tensor([[size[1] / width, 0, 0], [0, TILE / height, 0]], dtype=torch.float64)
        back = geometry.inverse().then(matrix, size)
        seen = back.inverse().visible()
        return Heat(back.warp(value.maps) * seen, value.words, back.warp(value.picture) * seen)

    def encode(self, value: Heat | Tensor) -> bytes:
        """Returns the tiles as PNG, each with its word below: colours from 0 to the largest value of all."""
        if isinstance(value, Tensor):
            return self._drawn(value, torch.zeros(3, TILE, TILE), 1.0, [""] * len(value))
        assert self.words is not None
        ids = value.words.tolist()
        count = ids.index(EOS) if EOS in ids else len(ids)
        spoken = [self.words.encode(word[None]) for word in value.words[:count]]
        picture, real = self._seen(value.picture)
        return self._drawn(value.maps[:count], picture, real, spoken, first=True)

    def _seen(self, picture: Tensor | Padded) -> tuple[Tensor, float]:
        """Returns a picture (3, h, w) from 0 to 1, without padding, and which share of its columns was real."""
        assert self.picture is not None
        share = 1.0
        if isinstance(picture, Padded):
            share = float(picture.mask.double().mean())
            picture = picture.data[..., picture.mask]
        with Pillow.open(io.BytesIO(self.picture.encode(picture))) as opened:
            whole = opened.convert("RGB")
            width = min(WIDEST, max(1, round(TILE * whole.width / whole.height)))
            pixels = np.array(whole.resize((width, TILE), Pillow.Resampling.NEAREST))
        return torch.from_numpy(pixels).permute(2, 0, 1) / 255, share

    def _drawn(self, maps: Tensor, picture: Tensor, real: float, words: Sequence[str], first: bool = False) -> bytes:
        """Returns the sheet: the picture as it is where `first`, and below the colours of each map; the scale."""
        width = picture.shape[2]
        grown = maps.new_zeros(0, TILE, width)
        if len(maps):
            grown = F.interpolate(maps[None].float(), (TILE, round(width / real)), mode="bilinear")[0, ..., :width]
        if self.picture is not None and self.picture.form == "spectrogram":
            grown = grown.flip(1)
        most = float(grown.max()) if len(grown) else 0.0
        tiles = heat.overlaid(picture, grown / max(most, 1e-12))
        shown = [(picture, "")] * first + list(zip(tiles, words, strict=True))
        columns = 1 if width > 2 * TILE else min(len(shown), SHEET // width)  # times lie below one another
        rows = -(-len(shown) // columns)
        sheet = Pillow.new("RGB", (columns * width, rows * (TILE + LINE) + heat.HEIGHT), "white")
        pen = ImageDraw.Draw(sheet)
        for place, (tile, word) in enumerate(shown):
            left, top = place % columns * width, place // columns * (TILE + LINE)
            pixels = tile.mul(255).round().byte().permute(1, 2, 0).numpy()
            sheet.paste(Pillow.fromarray(pixels), (left, top))
            pen.text((left + width // 2, top + TILE + LINE // 2), word, "black", heat.font(), anchor="mm")
        sheet.paste(heat.scale(sheet.width, "0", f"{most:.2g}"), (0, sheet.height - heat.HEIGHT))
        buffer = io.BytesIO()
        sheet.save(buffer, "PNG")
        return buffer.getvalue()

    def example(self, random: Generator) -> list[Any]:
        """Returns three maps of 4 x 4."""
        maps: list[Any] = torch.rand(3, 4, 4, generator=random).tolist()
        return maps

    def json_schema(self) -> dict[str, Any]:
        """Returns that they are maps of numbers."""
        line = {"type": "array", "items": {"type": "number", "minimum": 0}}
        return {"type": "array", "items": {"type": "array", "items": line}}
