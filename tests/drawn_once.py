"""Splits that are drawn once: whatever opens the same one in a test process shares its samples."""

from __future__ import annotations

import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from sensorium import Dataset, Sample, Split
from sensorium.assembly.splits import Subset
from sensorium.contracts.dataset import narrow
from sensorium.plugins import Plugins


@contextmanager
def drawn_once(most: int = sys.maxsize) -> Iterator[None]:
    """Has every dataset keep the samples of its splits, of each the first `most`."""
    opened: dict[tuple[type, str, str], Split] = {}
    plugins = Plugins()

    def keep(patch: pytest.MonkeyPatch, kind: type[Dataset]) -> None:
        draw = kind.open

        def open_(self: Dataset, split: str) -> Split:
            key = (type(self), repr(self.config), split)
            if key not in opened:
                whole = draw(self, split)
                opened[key] = Kept(whole, range(min(len(whole), most)))
            return opened[key]

        patch.setattr(kind, "open", open_)

    with pytest.MonkeyPatch.context() as patch:
        for name in set(plugins.names("dataset")) - {"union"}:  # whose sources are
            keep(patch, plugins.find("dataset", name))
        yield


@dataclass(frozen=True)
class Kept(Subset):
    """Some samples of a split, each of which is made once."""

    drawn: dict[int, Sample] = field(default_factory=dict)
    narrowed: dict[frozenset[str], Kept] = field(default_factory=dict)

    def __getitem__(self, index: int) -> Sample:
        if index not in self.drawn:
            self.drawn[index] = super().__getitem__(index)
        return {**self.drawn[index]}

    def narrow(self, fields: Collection[str]) -> Kept:
        """Returns the same samples, for somebody who reads some fields."""
        key = frozenset(fields)
        if key not in self.narrowed:
            inner = narrow(self.split, fields)
            self.narrowed[key] = self if inner is self.split else Kept(inner, self.indices)
        return self.narrowed[key]
