"""A reader's folder: what the documents name of the repository, pictures of digits, real data if there are any."""

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
    from sklearn.datasets import load_digits

    (folder / "plugins").symlink_to(ROOT / "plugins")
    (folder / "data").mkdir()
    if os.environ.get(needs.DATA):
        for ours, theirs in SETS.items():
            (folder / "data" / ours).symlink_to(needs.data() / theirs)
    digits = load_digits()
    for name, index in {"digit": -1, "three": 3, "eight": 8}.items():
        plot.imsave(folder / f"{name}.png", digits.images[index], cmap="gray")
