"""What an evaluation shows: pictures or spectrograms with the sentences said of them, and where words looked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from sensorium.ops.heat import SCALE, THICK, THIN
from sensorium.ops.plots import Tile, cell, figure, in_rows, png, sheet

COLUMNS = 4
WIDTH = 2.6
"""Of a picture, in inches."""


@dataclass(frozen=True)
class Heard:
    """A sound with the words said of it.

    Attributes:
        spectrogram: (F, T), the lowest frequencies first.
        seconds: Its length.
        words: What was said.
        looks: Where each word listened, (L, H, W), rows and columns as of the spectrogram.
    """

    spectrogram: Tensor
    seconds: float
    words: Sequence[str]
    looks: Tensor


def captioned(pictures: Sequence[bytes], sentences: Sequence[str]) -> bytes:
    """Returns one PNG of pictures (PNG) with a sentence above each."""
    tiles = [Tile(picture, sentence) for picture, sentence in zip(pictures, sentences, strict=False)]
    return sheet(in_rows(tiles, COLUMNS), cell(pictures[0], WIDTH))


def listened(sounds: Sequence[Heard]) -> bytes:
    """Returns one PNG with a sound in each column: its spectrogram, and when and at which pitch each word listened."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("heat", SCALE)
    rows = 1 + max(len(sound.words) for sound in sounds)
    drawing = figure(3.4 * len(sounds) + 0.8, 1.25 * rows + 0.4)
    grid = drawing.subplots(rows, len(sounds), squeeze=False, sharex="col")
    scale = None
    for column, sound in zip(grid.T, sounds, strict=True):
        extent = (0, sound.seconds, 0, len(sound.spectrogram))
        for place, axes in enumerate(column):
            if place > len(sound.words):
                axes.axis("off")
                continue
            axes.imshow(sound.spectrogram.numpy(), cmap="gray", origin="lower", aspect="auto", extent=extent)
            axes.set_ylabel("band", fontsize=7)
            axes.tick_params(labelsize=7, labelbottom=place == len(sound.words))
            title = " ".join(sound.words) if place == 0 else sound.words[place - 1]
            axes.set_title(title, fontsize=8, fontweight="normal" if place else "bold", parse_math=False)
            if place:
                look = sound.looks[place - 1]
                share = (look / look.max().clamp(min=1e-12)).numpy()
                scale = axes.imshow(
                    share, cmap=colours, origin="lower", aspect="auto", extent=extent, vmin=0, vmax=1,
                    alpha=THIN + (THICK - THIN) * share, interpolation="nearest",
                )  # fmt: skip
        column[len(sound.words)].set_xlabel("seconds", fontsize=7)
    if scale is not None:
        drawing.colorbar(scale, ax=grid.ravel().tolist(), label="weight, of the word's largest", aspect=40)
    return png(drawing)
