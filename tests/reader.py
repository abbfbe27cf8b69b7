"""A reader's folder: what the documents name of the repository, pictures, a sound, real data if there are any."""

from __future__ import annotations

import os
from pathlib import Path

import needs

ROOT = Path(__file__).parents[1]
SETS = {
    "coco": "tiny_coco",
    **{
        name: name
        for name in (
            "MNIST",
            "TNO",
            "ESC-10",
            "GRID-samples",
            "based-cooking",
            "easy-VQA",
            "free-spoken-digit-dataset",
            "word-text",
        )
    },
}
"""Folder below `data` that the documents name -> that of the real data."""


def furnish(folder: Path) -> None:
    """Lays out what the documents' commands name."""
    import matplotlib.pyplot as plot
    import numpy as np
    import soundfile
    from sklearn.datasets import load_digits

    from sensorium.builtin.modalities import film

    (folder / "plugins").symlink_to(ROOT / "plugins")
    (folder / "data").mkdir()
    if os.environ.get(needs.DATA):
        for ours, theirs in SETS.items():
            (folder / "data" / ours).symlink_to(needs.data() / theirs)
    digits = load_digits()
    for name, index in {"digit": -1, "three": 3, "eight": 8}.items():
        plot.imsave(folder / f"{name}.png", digits.images[index], cmap="gray")
    plot.imsave(folder / "canvas.png", np.tile(digits.images[3], (3, 3)), cmap="gray")
    moments = np.arange(8000) / 8000  # a second
    soundfile.write(folder / "four.wav", 0.1 * np.sin(2 * np.pi * 440 * moments), 8000)
    (folder / "film.mp4").write_bytes(film.write(np.full((25, 96, 96, 3), 200, np.uint8), 25))
    np.savetxt(folder / "landmarks.csv", np.tile(np.linspace(20, 70, 136), (25, 1)), delimiter=",")
