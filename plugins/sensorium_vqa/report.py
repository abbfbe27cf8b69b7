"""What an evaluation shows: pictures with a question and its answer."""

from __future__ import annotations

import io
import textwrap

from PIL import Image as Pillow

from sensorium import Rows, Split
from sensorium.builtin.modalities.image import Image

SHOWN, COLUMNS = 8, 4


def answered(rows: Rows, split: Split, image: Image, seen: str, asked: str) -> bytes:
    """Returns one PNG of the first pictures, each below its question and answer, which is green if it is right.

    Args:
        rows: Rows of the whole split.
        split: Where the samples come from.
        image: The pictures' modality.
        seen: Field of the picture.
        asked: Field of the question.
    """
    from matplotlib.figure import Figure

    count = min(SHOWN, len(split))
    figure = Figure(figsize=(2.6 * COLUMNS, 3.0 * -(-count // COLUMNS)), dpi=80, layout="constrained")
    for place in range(count):
        sample, said = split[place], rows["said.answer"][place]
        axes = figure.add_subplot(-(-count // COLUMNS), COLUMNS, place + 1)
        with Pillow.open(io.BytesIO(image.encode(image.transform(image.decode(sample[seen]), None)))) as opened:
            axes.imshow(opened.convert("RGB"))
        right = said in rows["answers"][place]
        title = textwrap.fill(f"{sample[asked]} {said}", 30)
        axes.set_title(title, fontsize=7, color="green" if right else "red", parse_math=False)
        axes.axis("off")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
