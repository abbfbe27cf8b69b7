"""Several datasets as the sources of one: pairs of different fields, labelled and unlabelled samples, two corpora."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Collection, Sequence
from copy import copy
from dataclasses import field, replace

import numpy as np

from sensorium import Dataset, Sample, Source, Split, UserError, fetch, narrow, place_of, shards_of, unknown


class Union(Dataset):
    """Datasets side by side; each step learns from one of them, in batches of its own.

    The split `train` joins all sources that have one. Each other split belongs to one, and is what is evaluated:
    `far_test` is `test` of the source `far`.
    """

    class Config(Dataset.Config):
        """The sources."""

        sources: dict[str, Dataset.Config]
        """Name -> dataset; its own `limit` counts."""
        batches: dict[str, int] = field(default_factory=dict)
        """Source -> samples of a step that learns from it, over all workers; training.global_batch if left out."""

        def __post_init__(self) -> None:
            if not self.sources:
                raise ValueError("sources names one dataset at least.")
            if self.holdout or any(each.holdout or each.broken == "skip" for each in self.sources.values()):
                raise ValueError("holdout is not for joined datasets, and broken: skip stands beside `sources`.")
            if any(size < 1 for size in self.batches.values()):
                raise ValueError("batches are at least 1.")

    config: Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        for name in config.batches:
            if name not in config.sources:
                raise unknown("source", name, config.sources, "dataset.batches")
        self.parts: dict[str, Dataset] = {name: each.build() for name, each in config.sources.items()}
        self.fields = {}  # type: ignore[misc]
        for name, dataset in self.parts.items():
            for key, kind in dataset.fields.items():
                if self.fields.setdefault(key, kind) != kind:
                    raise UserError(
                        f"The source {name!r} has a field {key!r} of {kind}; another one has it of {self.fields[key]}.",
                        "A field is of one kind in all sources.",
                    )
        own = [f"{name}_{split}" for name, dataset in self.parts.items() for split in dataset.splits]
        self.splits = ("train", *own)

    def open(self, split: str) -> Split:
        """Returns the joined training split, or a split of one source.

        Raises:
            UserError: No source has a split to train on.
        """
        if split == "train":
            learnt = [name for name, dataset in self.parts.items() if "train" in dataset.splits]
            if not learnt:
                raise UserError(
                    "No source has a split to train on.", "One was expected.", "Add one to dataset.sources."
                )
            return Joined([self._part(name, "train") for name in learnt])
        own = ((name, inner) for name, dataset in self.parts.items() for inner in dataset.splits)
        return Joined([self._part(*next(part for part in own if "_".join(part) == split))])

    def _part(self, name: str, split: str) -> tuple[Source, Split]:
        dataset = self.parts[name]
        samples = dataset.open(split)
        count = min(len(samples), dataset.config.limit.get(split, len(samples)))
        return Source(name, range(count), frozenset(dataset.fields), self.config.batches.get(name)), samples


class Joined:
    """The splits of several sources, one after another; ids begin with the name of their source."""

    def __init__(self, parts: Sequence[tuple[Source, Split]]) -> None:
        self.sources: list[Source] = []
        self._splits = [split for _, split in parts]
        start = 0
        for source, _ in parts:
            self.sources.append(replace(source, indices=range(start, start + len(source.indices))))
            start += len(source.indices)
        self._starts = [source.indices.start for source in self.sources]
        self._count = start
        own = [np.minimum(shards_of(split), len(source.indices)) for source, split in parts]
        self._shards = [0, *np.cumsum([len(starts) - 1 for starts in own]).tolist()]
        self.shards = np.append(
            np.concatenate([begin + starts[:-1] for begin, starts in zip(self._starts, own, strict=True)]), start
        )

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < self._count:
            raise IndexError(index)
        source, split, place = self._at(index)
        sample = split[place]
        return {**sample, "id": f"{source.name}/{sample['id']}"}

    def place(self, index: int) -> str:
        """Returns where a sample stands, as far as its own split knows."""
        _, split, place = self._at(index)
        return place_of(split, place)

    def fetch(self, shard: int) -> float:
        """Brings a shard of one of the splits near."""
        number = bisect_right(self._shards, shard) - 1
        return fetch(self._splits[number], shard - self._shards[number])

    def narrow(self, fields: Collection[str]) -> Joined:
        """Returns the same samples, for somebody who reads some fields."""
        joined = copy(self)
        joined._splits = [narrow(split, fields) for split in self._splits]
        return joined

    def _at(self, index: int) -> tuple[Source, Split, int]:
        number = bisect_right(self._starts, index) - 1
        return self.sources[number], self._splits[number], index - self._starts[number]
