"""What an evaluation of separation shows.

Shapes: N mixtures, S samples.
"""

from __future__ import annotations

from sensorium import Rows, Split
from sensorium.ops.plots import figure, png
from sensorium.ops.spectra import Spectra

NAMES = ("mixture", "voice a, separated", "voice b, separated", "voice a", "voice b")


def plots(rows: Rows, spectra: Spectra) -> dict[str, bytes]:
    """Returns `spectrograms.png` of the first mixture: as it is, separated, and in truth."""
    sounds = rows["sound"][0]
    grids = spectra.compressed(sounds).abs().numpy()
    drawing = figure(7, 6, dpi=80)
    for name, grid, place in zip(NAMES, grids, (1, 3, 4, 5, 6), strict=True):
        axes = drawing.add_subplot(3, 2, place)
        axes.imshow(grid, origin="lower", aspect="auto", cmap="magma", vmax=grids.max())
        axes.set_title(name, fontsize=9, parse_math=False)
        axes.set_xticks([])
        axes.set_yticks([])
    return {"spectrograms.png": png(drawing)}


def examples(rows: Rows, split: Split) -> list[str]:
    """Returns how well the first mixture was separated, and who spoke."""
    before = float(rows["si_sdr"][0] - rows["si_sdri"][0])
    sentence = f"{rows['id'][0]}: SI-SDR {before:.1f} dB in the mixture, {float(rows['si_sdr'][0]):.1f} dB separated."
    speech = split[0].get("speech")
    return [sentence] if speech is None else [sentence, f"The speech is {speech}."]
