"""Dataset: where samples come from, in named splits."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any, ClassVar, Literal, Protocol

from sensorium.contracts.component import Component, Config
from sensorium.contracts.data import Sample
from sensorium.errors import unknown


@dataclass(frozen=True)
class Source:
    """Samples of a split that have the same fields, and share batches with one another alone.

    Attributes:
        name: What it is called; empty where a split is one source.
        indices: Where its samples stand in the split.
        fields: The fields that its samples have; None where they have all that the dataset names.
        batch: Samples of a step that learns from it, over all workers; None takes `training.global_batch`.
    """

    name: str
    indices: range
    fields: frozenset[str] | None = None
    batch: int | None = None

    def reads(self, field: str) -> bool:
        """Returns whether its samples have a field."""
        return self.fields is None or field in self.fields


class Split(Protocol):
    """A part of a dataset with random access; reading it is safe from several threads.

    Where it also has a method `place(index)`, errors tell what that returns: file and line of a sample. Where it has
    an attribute `sources`, a sequence of `Source` one after another, batches are of one source each. Where it has a
    method `narrow(fields)`, that returns the same split for somebody who reads these of the dataset's `fields`, such as
    a table's column of labels: samples may lack the others. Where it has an attribute `columns`, field -> the values of
    all samples, `id` among them, a run's record tells by these too whether data are the same.

    Where its samples lie in shards, such as tar files, an attribute `shards` says at which index each begins, and the
    last one ends, (S + 1,); it may be a mapped array. `training.shuffle: blocks` then reads them mostly in sequence.
    Where they lie afar, a method `fetch(shard)` brings the shard of that number near, and returns which share of the
    place for such shards it takes, 0 to 1. It is called ahead of reading, from several threads; a sample is read
    without it too.
    """

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample: ...


def sources_of(split: Split) -> Sequence[Source]:
    """Returns the sources of a split, one after another: a single one with all samples where it names none."""
    named: Sequence[Source] | None = getattr(split, "sources", None)
    return named or (Source("", range(len(split))),)


def source_at(split: Split, index: int) -> Source:
    """Returns the source of a sample."""
    return next(source for source in sources_of(split) if index in source.indices)


def place_of(split: Split, index: int) -> str:
    """Returns where a sample stands, such as `labels.csv:12`; empty where the split has no method `place(index)`."""
    place: Callable[[int], str] | None = getattr(split, "place", None)
    return "" if place is None else place(index)


def shards_of(split: Split) -> Sequence[int]:
    """Returns where each of S shards of a split begins, and the last one ends, (S + 1,): one where it names none."""
    named: Sequence[int] = getattr(split, "shards", (0, len(split)))
    return named


def fetch(split: Split, shard: int) -> float:
    """Brings a shard of a split near, where it lies afar.

    Returns:
        Which share of the place for such shards it takes; 0 where nothing is to be fetched.
    """
    own: Callable[[int], float] | None = getattr(split, "fetch", None)
    return 0.0 if own is None else own(shard)


def narrow(split: Split, fields: Collection[str]) -> Split:
    """Returns a split for somebody who reads some fields: without the others, where making them would take long."""
    own: Callable[[Collection[str]], Split] | None = getattr(split, "narrow", None)
    return split if own is None else own(fields)


def _checked(opened: Callable[[Dataset, str], Split]) -> Callable[[Dataset, str], Split]:
    """Returns a dataset's `open`, which refuses a split that the dataset does not have."""

    @wraps(opened)
    def checked(dataset: Dataset, split: str) -> Split:
        if split not in dataset.splits:
            raise unknown("split", split, dataset.splits, type(dataset).__name__)
        return opened(dataset, split)

    return checked


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

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "open" in cls.__dict__:
            cls.open = _checked(cls.open)  # type: ignore[method-assign, assignment]

    def __init__(self, config: Dataset.Config) -> None:
        self.config = config

    def open(self, split: str) -> Split:
        """Returns one split; another name than those of `splits` never reaches a subclass.

        Raises:
            UserError: There is no such split, or a file or folder is missing; says what is there and what was expected.
        """
        raise NotImplementedError
