"""Dataset: where samples come from, in named splits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import field
from typing import ClassVar, Literal, Protocol

from sensorium.contracts.component import Component, Config
from sensorium.contracts.data import Sample


class Split(Protocol):
    """A part of a dataset with random access; reading it is safe from several threads.

    Where it also has a method `place(index)`, errors tell what that returns: file and line of a sample.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def place_of(split: Split, index: int) -> str:
    """Returns where a sample stands, such as `labels.csv:12`; empty where the split has no method `place(index)`."""
    place: Callable[[int], str] | None = getattr(split, "place", None)
    return "" if place is None else place(index)


class Dataset(Component):
    """A source of samples. It opens files lazily: an item holds paths or bytes, not pixels.

    Attributes:
        fields: Field -> the form or name of modality that reads it, for the fields of each sample.
        splits: Names of the splits it has, of `train`, `validation` and `test`.
    """

    kind = "dataset"
    fields: ClassVar[dict[str, str]]
    splits: Sequence[str] = ("train", "test")

    class Config(Config):
        """Options that every dataset has."""

        broken: Literal["refuse", "skip"] = "refuse"
        """What to do with media that cannot be read: stop with file and cause, or leave the sample
        out and count it (every file is then read once before training)."""

        limit: dict[str, int] = field(default_factory=dict)
        """Split -> number of samples at most; the first ones are taken."""

        holdout: float = 0.0
        """Share of the training samples that is kept apart as the split `validation`, for a dataset
        that has none; which ones does not depend on the run's seed. Samples of one file stay together."""

    def __init__(self, config: Dataset.Config) -> None:
        self.config = config

    def open(self, split: str) -> Split:
        """Returns one split.

        Raises:
            UserError: A file or folder is missing; says what is there and what was expected.
        """
        raise NotImplementedError
