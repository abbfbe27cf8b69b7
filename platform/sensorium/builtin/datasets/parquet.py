"""Parquet: tables with media inside, as Hugging Face's datasets are stored, read a group of rows at a time.

Media are bytes, paths, or records of both (`{bytes, path}`); labels are names, or numbers whose names the table's
metadata hold.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from sensorium import Dataset, Sample, UserError
from sensorium.builtin.datasets.cache import Cache, Store, name_of
from sensorium.builtin.datasets.files import empty_cell, expand, filesystem
from sensorium.builtin.datasets.mapped import Arrays, Writer, mapped
from sensorium.builtin.datasets.row_groups import File, read_footer
from sensorium.builtin.datasets.shards import REQUESTS, Shard, found
from sensorium.builtin.values import filled, once

if TYPE_CHECKING:
    import pyarrow as pa

KEPT = 64
"""Groups of rows that a split has mapped, the last ones read."""
FILES = 64
"""Files whose footers it has at hand."""


class Parquet(Dataset):
    """Samples from Parquet files, one a row, local or at any fsspec URI.

    Columns `id` and `group`, where there are any, give the samples' ids and groups. Paths of media are relative to the
    file's own folder, unless they are absolute or URIs. A group of rows is read once, into the cache, from which all
    processes of a machine map it.
    """

    config: Config

    class Config(Dataset.Config):
        """Options of Parquet files."""

        fields: dict[str, str]
        """Column -> modality that reads it: image, audio, video, text, label, number, vector, tags, or a plugin's."""

        train: str = ""
        """Files of the training split: a path or URI with {00000..00009}, * or neither, or a folder."""

        validation: str = ""
        """Files of the validation split; empty when there is none."""

        test: str = ""
        """Files of the test split; empty when there is none."""

        cache: Cache = field(default_factory=Cache)
        """Where groups of rows that were read are kept, and the indices of the splits."""

        def __post_init__(self) -> None:
            if not (self.train or self.test):
                raise ValueError("train or test must name files.")
            if not self.fields or {"id", "group"} & self.fields.keys():
                raise ValueError("fields must name at least one column, and neither id nor group.")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.patterns = {"train": config.train, "validation": config.validation, "test": config.test}
        self.splits = tuple(split for split, pattern in self.patterns.items() if pattern)
        self.fields = dict(config.fields)  # type: ignore[misc]

    def open(self, split: str) -> Table:
        """Returns one split, in the order of its files."""
        files = found(_files(self.patterns[split]), "parquet")
        return Table(files, self.config.fields, self.config.cache.open())


class Table:
    """A split: the rows of files, read by the group; its index tells how many rows each group has.

    Args:
        shards: The files, of one schema.
        fields: Column -> modality.
        store: Where the index is kept, and groups that were read.
        index: The index, where it is known.

    Raises:
        UserError: There are no rows, a file is damaged, or an id or the name of a file occurs twice.
    """

    def __init__(
        self, shards: Sequence[Shard], fields: Mapping[str, str], store: Store, index: Arrays | None = None
    ) -> None:
        self.files, self.fields, self.store = shards, fields, store
        made_from = [[shard.uri, shard.size, shard.modified] for shard in shards]
        name = name_of("index", "parquet", made_from, sorted(fields))
        self.index = index or mapped(store, name, lambda: _index(shards, fields, store))
        self.shards = self.index["starts"]
        self.kept: OrderedDict[int, tuple[dict[str, pa.ChunkedArray], Path | None]] = OrderedDict()
        self.lock = threading.Lock()
        self._file = lru_cache(FILES)(self._opened)

    def narrow(self, fields: Collection[str]) -> Table:
        """Returns the same rows for somebody who reads some columns: pictures are not read for labels alone."""
        wanted = {name: modality for name, modality in self.fields.items() if name in fields}
        whole = len(wanted) in (0, len(self.fields))
        return self if whole else Table(self.files, wanted, self.store, self.index)

    def __len__(self) -> int:
        return int(self.shards[-1])

    def __getitem__(self, index: int) -> Sample:
        group, row, number = self._at(index)
        file = self._file(self._of(group)[0])
        values = {name: column[row].as_py() for name, column in self._read(group)[0].items()}
        place = f"{file.name}, row {number + 1}"
        sample: Sample = {"id": f"{file.shard.stem}/{number}"}
        for name in {"id", "group"} & values.keys():
            if values[name] is None:
                raise empty_cell(place, name)
            sample[name] = filled(str(values[name]), f"{place}, {name!r},")
        for name, modality in self.fields.items():
            sample[name] = file.value(name, values[name], modality, place)
        return sample

    def place(self, index: int) -> str:
        """Returns file and row of a sample; rows count from 1."""
        group, _, number = self._at(index)
        return f"{self.files[self._of(group)[0]].uri}, row {number + 1}"

    def fetch(self, shard: int) -> float:
        """Has a group read into the cache, and returns which share of it that takes."""
        _, path = self._read(shard)
        with suppress(OSError):
            return path.stat().st_size / self.store.bound if path is not None else 0.0
        return 0.0

    def _at(self, index: int) -> tuple[int, int, int]:
        """Returns the group of a row, and its place in the group and in the file."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        group = int(np.searchsorted(self.shards, index, "right")) - 1
        row = index - int(self.shards[group])
        return group, row, self._of(group)[2] + row

    def _of(self, group: int) -> tuple[int, int, int]:
        """Returns the file of a group, its number in the file, and that of its first row there."""
        file, number, first = self.index["groups"][group].tolist()
        return file, number, first

    def _opened(self, file: int) -> File:
        return File(self.files[file], self.fields, self.index.bytes("footers", file))

    def _read(self, group: int) -> tuple[dict[str, pa.ChunkedArray], Path | None]:
        with self.lock:
            if (found := self.kept.get(group)) is not None:
                self.kept.move_to_end(group)
                return found
        file, number, _ = self._of(group)
        table, path = self._file(file).read(number, self.fields, self.store)
        found = dict(zip(table.column_names, table.columns, strict=True)), path
        with self.lock:
            self.kept[group] = found
            gone = [key for key, (_, path) in self.kept.items() if path is not None and not path.exists()]
            for key in [*gone, *list(self.kept)[: -(KEPT if path is not None else 1)]]:
                self.kept.pop(key, None)
        return found


def _index(shards: Sequence[Shard], fields: Mapping[str, str], store: Store) -> Writer:
    """Returns the index of a split: the footers of its files, and where the rows of each group begin."""
    once(((shard.stem, shard.uri) for shard in shards), "file name")
    writer, starts = Writer(), [0]
    with ThreadPoolExecutor(REQUESTS if any(shard.far for shard in shards) else 1) as pool:
        footers = list(pool.map(lambda shard: read_footer(shard, store), shards))
    files = [File(shard, fields, footer) for shard, footer in zip(shards, footers, strict=True)]
    for number, file in enumerate(files):
        first = np.cumsum([0, *file.rows])
        groups = [[number, group, int(first[group])] for group in range(len(file.rows))]
        writer.add("groups", np.array(groups, np.int64).reshape(-1, 3))
        starts += (starts[-1] + first[1:]).tolist()
    if not starts[-1]:
        raise UserError(
            f"{shards[0].uri} holds no samples.", "A split has at least one.", "Choose another file or folder."
        )
    once(((value, place) for file in files for value, place in _ids(file, store)), "id")
    writer.add_texts("footers", footers)
    writer.add("starts", starts)
    return writer


def _ids(file: File, store: Store) -> Iterator[tuple[str, str]]:
    """Yields the ids that a file gives its rows, with their places; none where it has no such column."""
    row = 0
    for group in range(len(file.rows)) if "id" in file.columns else ():
        for value in file.read(group, (), store)[0].column("id").to_pylist():
            row += 1
            yield str(value), f"{file.name}, row {row}"


def _files(pattern: str) -> list[str]:
    """Returns the files of a pattern or folder, in order."""
    system, path = filesystem(pattern)
    if system.isdir(path):
        return expand(f"{pattern.rstrip('/')}/*.parquet")
    return expand(pattern)
