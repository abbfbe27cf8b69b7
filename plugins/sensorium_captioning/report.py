"""What an evaluation shows: pictures with the sentences said of them."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Sequence

from PIL import Image as Pillow

COLUMNS = 4


def captioned(pictures: Sequence[bytes], sentences: Sequence[str]) -> bytes:
    """Returns one PNG of pictures (PNG) with a sentence above each."""
    from matplotlib.figure import Figure

    rows = -(-len(pictures) // COLUMNS)
    figure = Figure(figsize=(2.6 * COLUMNS, 3.0 * rows), dpi=80, layout="constrained")
    for place, (picture, sentence) in enumerate(zip(pictures, sentences, strict=False), 1):
        axes = figure.add_subplot(rows, COLUMNS, place)
        with Pillow.open(io.BytesIO(picture)) as opened:
            axes.imshow(opened.convert("RGB"))
        axes.set_title(textwrap.fill(sentence, 30), fontsize=7, parse_math=False)
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
