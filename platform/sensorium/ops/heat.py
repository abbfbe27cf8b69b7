"""Heat maps: colours from cold to hot, laid over pictures, and the scale that tells what they mean.

Shapes: B maps, h rows and w columns.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

SCALE = ((0.0, 0.0, 0.5), (0.0, 0.6, 1.0), (0.2, 1.0, 0.5), (1.0, 0.85, 0.0), (0.9, 0.0, 0.0))
"""Red, green and blue from 0, cold, to 1, hot."""
THIN, THICK = 0.1, 0.8
"""How much of a picture its map covers where it is cold, and where it is hot."""
HEIGHT = 16
"""Of the scale, in pixels."""
END = 48
"""Width of what stands at either end of the scale, in pixels."""


def coloured(heat: Tensor) -> Tensor:
    """Returns the colours (B, 3, h, w), from 0 to 1, of maps (B, h, w) from 0 to 1."""
    scale = torch.tensor(SCALE, device=heat.device)
    place = heat.clamp(0, 1) * (len(scale) - 1)
    low = place.floor().long().clamp(max=len(scale) - 2)
    share = (place - low)[..., None]
    return (scale[low] * (1 - share) + scale[low + 1] * share).permute(0, 3, 1, 2)


def overlaid(pictures: Tensor, heat: Tensor) -> Tensor:
    """Returns pictures below the colours of their maps, (B, 3, h, w) from 0 to 1; hot places cover them more.

    Args:
        pictures: (B, C, h, w) from 0 to 1, grey or RGB.
        heat: (B, h, w) from 0 to 1.
    """
    cover = (THIN + (THICK - THIN) * heat.clamp(0, 1))[:, None]
    return pictures * (1 - cover) + coloured(heat) * cover


def scale(width: int, least: str, most: str) -> Any:
    """Returns a picture (Pillow) of the colours, so many pixels wide, with what they mean at both ends."""
    from PIL import Image, ImageDraw

    drawn = Image.new("RGB", (width, HEIGHT), "white")
    colours = coloured(torch.linspace(0, 1, max(1, width - 2 * END)).expand(1, HEIGHT - 6, -1))[0]
    drawn.paste(Image.fromarray(colours.mul(255).round().byte().permute(1, 2, 0).numpy()), (END, 3))
    pen = ImageDraw.Draw(drawn)
    for text, place in ((least, END // 2), (most, width - END // 2)):
        pen.text((place, HEIGHT // 2), text, "black", font(), anchor="mm")
    return drawn


def font() -> Any:
    """Returns the letters that fit a line of the scale's height."""
    from PIL import ImageFont

    return ImageFont.load_default(HEIGHT - 4)
