"""Checks of a dataset: every sample is whole, the same each time, and has an id of its own."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.options import probed
from sensorium.contracts.dataset import Dataset, sources_of
from sensorium.errors import UserError
from sensorium.plugins import Plugins

MOST = 64
"""Samples of a split, or of each of its sources, that are read."""


class Subject:
    """A dataset with its splits open."""

    def __init__(self, component: type[Dataset], plugins: Plugins) -> None:
        try:
            self.dataset: Dataset = probed(component, plugins).build()
            self.splits = {name: self.dataset.open(name) for name in self.dataset.splits}
        except UserError as cause:
            if component.probe:
                raise
            raise InapplicableError(f"{cause.wrong} Name files in `probe` to have this checked.") from cause


def has_whole_samples(subject: Subject) -> str:
    """Checks that each sample has an id of its own and every declared field that its source has."""
    for name, split in subject.splits.items():
        if not len(split):
            raise ContractError(f"The split {name!r} is empty.")
        ids = []
        for source in sources_of(split):
            declared = {"id", *filter(source.reads, subject.dataset.fields)}
            for sample in map(split.__getitem__, source.indices[:MOST]):
                if missing := sorted(declared - set(sample)):
                    raise ContractError(f"A sample of {name!r} lacks {', '.join(missing)}.")
                if not isinstance(sample["id"], str):
                    raise ContractError(f"The id {sample['id']!r} is not a string.")
                ids.append(sample["id"])
        if len(set(ids)) < len(ids):
            raise ContractError(f"Two samples of {name!r} have the same id.")
    return ", ".join(f"{name} {len(split)}" for name, split in subject.splits.items())


def reads_the_same(subject: Subject) -> str:
    """Checks that samples are the same on a second reading, in another order, from several threads."""
    for name, split in subject.splits.items():
        places = range(min(MOST, len(split)))
        first = [split[index] for index in places]
        with ThreadPoolExecutor(4) as pool:
            again = list(pool.map(split.__getitem__, reversed(places)))[::-1]
        if not all(_same(one, other) for one, other in zip(first, again, strict=True)):
            raise ContractError(f"A sample of {name!r} is another one when it is read again.")
    return "from four threads"


def _same(first: Any, second: Any) -> bool:
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (tuple, list)):
        return len(first) == len(second) and all(map(_same, first, second))
    if hasattr(first, "tobytes"):
        return bool(first.tobytes() == second.tobytes())
    if hasattr(first, "numpy"):
        return bool(first.equal(second))
    return bool(first == second)


CHECKS = {"samples": has_whole_samples, "determinism": reads_the_same}
