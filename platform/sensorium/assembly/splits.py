"""The splits that a run reads: limited, without broken samples, some held out; none of them lists its samples."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from sensorium.contracts.data import Sample
from sensorium.contracts.dataset import (
    Dataset,
    Source,
    Split,
    fetch,
    narrow,
    place_of,
    shards_of,
    source_at,
    sources_of,
)
from sensorium.contracts.modality import Modality
from sensorium.contracts.reading import transform
from sensorium.engine.permutation import Permutation
from sensorium.engine.storage import awaited
from sensorium.errors import MediaError, UserError, unknown

Skipped = dict[str, list[tuple[int, str]]]
_SPLITS = ("train", "validation", "test")
_TOGETHER = 10_000
"""Samples that wait to be read at a time."""


class Indices(Protocol):
    """Which samples are meant, such as a range."""

    def __len__(self) -> int: ...

    def __getitem__(self, place: int, /) -> int: ...


class Without:
    """The numbers below `count` without some; holds only these."""

    def __init__(self, count: int, left_out: Iterable[int]) -> None:
        # Before the k-th of those left out lie k fewer than its own number.
        self._before = [number - k for k, number in enumerate(sorted(left_out))]
        self._count = count - len(self._before)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, place: int) -> int:
        if not 0 <= place < self._count:
            raise IndexError(place)
        return place + bisect_right(self._before, place)


@dataclass(frozen=True)
class Subset:
    """The samples of a split at some of its indices."""

    split: Split
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Sample:
        return self.split[self.indices[index]]

    def place(self, index: int) -> str:
        """Returns where a sample stands, as far as the split knows."""
        return place_of(self.split, self.indices[index])

    def narrow(self, fields: Collection[str]) -> Subset:
        """Returns the same samples, for somebody who reads some fields."""
        return Subset(narrow(self.split, fields), self.indices)

    def fetch(self, shard: int) -> float:
        """Brings a shard of the split near."""
        return fetch(self.split, shard)

    @property
    def shards(self) -> Sequence[int]:
        """Where the shards of the split begin among these samples; some may be empty."""
        starts = np.asarray(shards_of(self.split)).tolist()
        return [bisect_left(self.indices, start) for start in starts]  # type: ignore[arg-type]

    @property
    def sources(self) -> list[Source]:
        """The sources of the split, with what is left of each."""
        ends = [bisect_left(self.indices, source.indices.stop) for source in sources_of(self.split)]  # type: ignore[arg-type]
        starts = [0, *ends[:-1]]
        return [
            replace(source, indices=range(start, end))
            for source, start, end in zip(sources_of(self.split), starts, ends, strict=True)
            if end > start
        ]


def open_splits(
    dataset: Dataset,
    modalities: Mapping[str, Modality],
    skipped: Skipped,
    threads: int,
    look: bool,
    only: str | None = None,
) -> dict[str, Split]:
    """Returns name -> split.

    Args:
        dataset: Where samples come from, with its limits.
        modalities: Field -> modality, of the fields that are read.
        skipped: Split -> index and fault of its broken samples; written to where they are looked for.
        threads: Number of threads that read.
        look: Whether to look for broken samples, if the dataset is to leave them out.
        only: The one split that is wanted; None wants all.

    Raises:
        UserError: A split is empty, or an option does not fit.
    """
    for name in dataset.config.limit:
        if name not in dataset.splits:
            raise unknown("split", name, dataset.splits, "dataset.limit")
    holdout = dataset.config.holdout
    if holdout and ("validation" in dataset.splits or not 0 < holdout < 1):
        raise UserError(
            f"dataset.holdout is {holdout:g}.",
            f"It lies in (0, 1), for a dataset without a validation split; there are {', '.join(dataset.splits)}.",
        )
    splits: dict[str, Split] = {}
    for name in dict.fromkeys((*_SPLITS, *dataset.splits)):
        needed = name == "train" and holdout and only == "validation"
        if name not in dataset.splits or (only not in (None, name) and not needed):
            continue
        whole = dataset.open(name)
        split = _part(whole, range(min(len(whole), dataset.config.limit.get(name, len(whole)))))
        if dataset.config.broken == "skip":
            if look:
                skipped[name] = _broken(split, modalities, threads)
            split = _part(split, Without(len(split), [index for index, _ in skipped.get(name, ())]))
        if not len(split):
            broken = skipped.get(name, ())
            why = f", the first one so: {broken[0][1]}" if broken else "."
            raise UserError(
                f"The split {name!r} of the dataset is empty.",
                f"{len(whole)} samples were found, {len(broken)} of them broken{why}",
                "Check where the dataset lies, and dataset.limit.",
            )
        if name == "train" and holdout:
            apart = _apart(split, modalities, holdout)
            splits["validation"] = Subset(split, apart)
            split = Subset(split, Without(len(split), apart))
        splits[name] = split
    return splits


def _part(split: Split, indices: Indices) -> Split:
    return split if len(indices) == len(split) else Subset(split, indices)


def _apart(split: Split, modalities: Mapping[str, Modality], share: float) -> list[int]:
    """Returns the indices that are held out, the same ones every time; samples of one file stay together."""
    files = _files(split, modalities)
    count = len(split) if files is None else len(files)
    if count == 1:
        raise UserError(
            "dataset.holdout keeps nothing apart.",
            "All training samples share one file.",
            "Choose a dataset with a validation split.",
        )
    wanted = max(1, round(share * len(split)))
    apart: list[int] = []
    for drawn in Permutation(count, 0).at(range(min(wanted, count - 1))).tolist():
        apart += [drawn] if files is None else files[drawn]
        if len(apart) >= wanted:
            break
    return sorted(apart)


def _files(split: Split, modalities: Mapping[str, Modality]) -> list[list[int]] | None:
    """Returns the indices of each file's samples: questions about one picture; None where samples name no file."""
    media = [field for field, modality in modalities.items() if modality.accepts]
    first = split[0]
    named = next((field for field in media if isinstance(first.get(field), str)), None)
    if named is None:
        return None
    files: dict[str, list[int]] = {}
    for index in range(len(split)):
        files.setdefault(split[index][named], []).append(index)
    return list(files.values())


def _broken(split: Split, modalities: Mapping[str, Modality], threads: int) -> list[tuple[int, str]]:
    decoded = {name: modality for name, modality in modalities.items() if not modality.learns}

    def fault(index: int) -> str:
        try:
            source = source_at(split, index)
            reads = {name: each for name, each in decoded.items() if source.reads(name)}
            awaited(f"sample {index}", lambda: transform(split[index], reads))
        except MediaError as cause:
            return cause.wrong
        return ""

    found: list[tuple[int, str]] = []
    with ThreadPoolExecutor(threads or 1) as pool:
        for start in range(0, len(split), _TOGETHER):
            some = range(start, min(start + _TOGETHER, len(split)))
            found += [(index, why) for index, why in zip(some, pool.map(fault, some), strict=True) if why]
    return found
