"""Handwritten digits, and captions written from templates.

Shapes: N images, H and W rows and columns.
"""

from __future__ import annotations

import importlib.util
import zlib
from collections.abc import Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from sensorium import Dataset
from sensorium.builtin.datasets.files import Columns

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def check_templates(templates: Sequence[str]) -> None:
    """Checks the option `captions` of a data set.

    Raises:
        ValueError: There is none, or one has no place for the word.
    """
    if not templates:
        raise ValueError("captions must hold at least one template.")
    for template in templates:
        if "{}" not in template:
            raise ValueError(f"captions: {template!r} has no {{}} where the word goes.")


def caption(templates: Sequence[str], word: str, key: str) -> str:
    """Returns the caption of the sample whose id is `key`.

    The template follows from a hash of the id: were it the index, files whose classes come in turn
    would give each class a template of its own, and the template would tell the class.
    """
    return templates[zlib.crc32(key.encode()) % len(templates)].replace("{}", word)


class WrittenDigits(Dataset):
    """Images of single digits; each has a written caption, the digit's word, and its class as group."""

    fields: ClassVar[dict[str, str]] = {"image": "image", "text": "text", "label": "label"}
    config: Config

    class Config(Dataset.Config):
        """Options of data sets of handwritten digits."""

        captions: list[str] = field(
            default_factory=lambda: [
                "a photo of the number {}",
                "the digit {} written by hand",
                "a handwritten {}",
                "someone wrote a {}",
            ]
        )
        """Templates of the captions, with {} for the digit's word; a hash of the id chooses."""

        shuffle_captions: bool = False
        """Whether captions are dealt out to other images at random (control: nothing can be
        learnt). Concerns the training split alone; labels stay."""

        def __post_init__(self) -> None:
            check_templates(self.captions)

    def read(self, split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Returns the images (N, H, W) uint8, 0 to 255, and their digits (N,) of one split."""
        raise NotImplementedError

    def open(self, split: str) -> Columns:
        """Returns one split: `train` or `test`."""
        images, digits = self.read(split)
        ids = [f"{split}/{index}" for index in range(len(images))]
        words = [DIGITS[digit] for digit in digits]
        groups = words
        texts = [caption(self.config.captions, word, key) for word, key in zip(words, ids, strict=True)]
        if self.config.shuffle_captions and split == "train":
            dealt = np.random.default_rng(0).permutation(len(words))
            texts, groups = [texts[i] for i in dealt], [words[i] for i in dealt]
        columns = {"id": ids, "group": groups, "image": images, "text": texts, "label": words}
        return Columns(columns, f"{type(self).__name__}, split {split}")


class Digits(WrittenDigits):
    """1,797 handwritten digits of 8 x 8 pixels that come with scikit-learn.

    They stand writer by writer; the last 450 are the test split, whose first writer also wrote the end of
    the training split. Source: E. Alpaydin, C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998
    (its test part).
    """

    TRAIN = 1347

    def read(self, split: str) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Returns the images (N, 8, 8), scaled from 0..16, and their digits (N,)."""
        table = _table()[slice(self.TRAIN) if split == "train" else slice(self.TRAIN, None)]
        pixels, digits = table[:, :64].reshape(-1, 8, 8), table[:, 64]
        return np.rint(pixels * (255 / 16)).astype(np.uint8), digits


def _table() -> np.ndarray[Any, Any]:
    """Returns a row of 64 pixels and a digit for each image.

    Read from scikit-learn's folder: importing scikit-learn would take longer than all the rest.
    """
    package = importlib.util.find_spec("sklearn")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    return np.loadtxt(file, delimiter=",", dtype=np.int64)
