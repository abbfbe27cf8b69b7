"""Parquet: tables with media inside, as Hugging Face's datasets are stored, read a group of rows at a time.

Media are bytes, paths, or records of both (`{bytes, path}`); labels are names, or numbers whose names the table's
metadata hold.
"""

from __future__ import annotations

import json
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sensorium import Dataset, MediaError, Sample, UserError, unknown
from sensorium.builtin.datasets.cells import INLINE, cell
from sensorium.builtin.datasets.files import empty_cell, expand, filesystem, listing
from sensorium.builtin.values import filled, once, shown

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow import parquet

CACHE = 256 * 2**20
"""Bytes of groups of rows that a split keeps in memory, the last ones read."""


class Parquet(Dataset):
    """Samples from Parquet files, one a row, local or at any fsspec URI.

    Columns `id` and `group`, where there are any, give the samples' ids and groups. Paths of media are relative to the
    file's own folder, unless they are absolute or URIs.
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
        if split not in self.splits:
            raise unknown("split", split, self.splits, "Parquet")
        files = [_File(name, self.config.fields) for name in _files(self.patterns[split])]
        once(((file.stem, file.name) for file in files), "file name")
        once((found for file in files for found in file.ids()), "id")
        return Table(files, self.config.fields)


class Table:
    """A split: the rows of files, of which the last groups that were read stay in memory.

    Args:
        files: The files, of one schema.
        fields: Column -> modality.

    Raises:
        UserError: There are no rows.
    """

    def __init__(self, files: Sequence[_File], fields: Mapping[str, str]) -> None:
        self.files, self.fields = files, fields
        self.groups = [(file, number) for file in files for number in range(file.groups)]
        self.starts = [0]
        for file, number in self.groups:
            self.starts.append(self.starts[-1] + file.rows(number))
        if not len(self):
            raise UserError(
                f"{files[0].name} holds no samples.", "A split has at least one.", "Choose another file or folder."
            )
        self.kept: OrderedDict[int, pa.Table] = OrderedDict()
        self.lock = threading.Lock()

    def narrow(self, fields: Collection[str]) -> Table:
        """Returns the same rows for somebody who reads some columns: pictures are not read for labels alone."""
        wanted = {name: modality for name, modality in self.fields.items() if name in fields}
        return self if len(wanted) in (0, len(self.fields)) else Table(self.files, wanted)

    def __len__(self) -> int:
        return self.starts[-1]

    def __getitem__(self, index: int) -> Sample:
        group = bisect_right(self.starts, index) - 1
        file, number = self.groups[group]
        row = index - self.starts[group]
        values = {name: column[row].as_py() for name, column in self._read(group).items()}
        place = f"{file.name}, row {file.first(number) + row + 1}"
        sample: Sample = {"id": f"{file.stem}/{file.first(number) + row}"}
        for name in {"id", "group"} & values.keys():
            if values[name] is None:
                raise empty_cell(place, name)
            sample[name] = filled(str(values[name]), f"{place}, {name!r},")
        for name, modality in self.fields.items():
            sample[name] = file.value(name, values[name], modality, place)
        return sample

    def place(self, index: int) -> str:
        """Returns file and row of a sample; rows count from 1."""
        group = bisect_right(self.starts, index) - 1
        file, number = self.groups[group]
        return f"{file.name}, row {file.first(number) + index - self.starts[group] + 1}"

    def _read(self, group: int) -> dict[str, pa.ChunkedArray]:
        with self.lock:
            found = self.kept.pop(group, None)
        if found is None:
            file, number = self.groups[group]
            found = file.read(number, self.fields)
        with self.lock:
            self.kept[group] = found
            while len(self.kept) > 1 and sum(table.nbytes for table in self.kept.values()) > CACHE:
                self.kept.popitem(last=False)
        return dict(zip(found.column_names, found.columns, strict=True))


class _File:
    """A Parquet file: its footer is read at once, its rows by the group.

    Args:
        name: Path or URI.
        fields: Columns that it must have.

    Raises:
        UserError: It is not Parquet, or lacks a column.
    """

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        self.name = name
        self.stem = name.rpartition("/")[2].removesuffix(".parquet")
        with self._opened() as file:
            self.metadata, schema = file.metadata, file.schema_arrow
        self.columns = set(schema.names)
        if absent := fields.keys() - self.columns:
            raise UserError(
                f"{name} has no column {listing(absent)}.",
                f"It has {listing(self.columns, 20)}.",
                "Correct `fields` in the experiment.",
            )
        self.labels = _labels(schema, name)
        self.groups = self.metadata.num_row_groups
        self.firsts = [0]
        for number in range(self.groups):
            self.firsts.append(self.firsts[-1] + self.rows(number))

    def rows(self, group: int) -> int:
        """Returns the number of rows of a group."""
        return int(self.metadata.row_group(group).num_rows)

    def first(self, group: int) -> int:
        """Returns the number of a group's first row in the file, from 0."""
        return self.firsts[group]

    def read(self, group: int, fields: Collection[str]) -> pa.Table:
        """Returns columns of a group, among them `id` and `group` where it has them.

        Raises:
            UserError: The file is damaged, or gone.
        """
        with self._opened() as file:
            columns = [*fields, *({"id", "group"} & self.columns)]
            return file.read_row_group(group, columns=columns, use_threads=False)

    def ids(self) -> Iterator[tuple[str, str]]:
        """Yields the ids that it gives its rows, with their places; none where it has no such column.

        Raises:
            UserError: The file is damaged, or gone.
        """
        for group in range(self.groups) if "id" in self.columns else ():
            for row, value in enumerate(self.read(group, ()).column("id").to_pylist(), self.first(group) + 1):
                yield str(value), f"{self.name}, row {row}"

    def value(self, column: str, raw: Any, modality: str, place: str) -> Any:
        """Returns what a cell is to the modality that reads it.

        Raises:
            UserError: It is not a value of that modality.
        """
        if isinstance(raw, dict) and modality not in INLINE:  # bytes, or where they lie
            raw = raw.get("bytes") or raw.get("path")
        if raw is None or raw in (b"", ""):
            raise empty_cell(place, column)
        if isinstance(raw, bytes) and modality not in INLINE:
            return raw
        names = self.labels.get(column)
        if modality == "label" and names is not None and type(raw) is int:
            if not 0 <= raw < len(names):
                raise MediaError(
                    f"{place}, {column!r}, is {raw}.", f"Labels are 0 to {len(names) - 1}.", "Mend the table."
                )
            return names[raw]
        try:
            return cell(raw, modality, self.name, f"{place}, {column!r},")
        except UserError as cause:
            raise MediaError(cause.wrong, cause.expected, cause.hint) from cause

    @contextmanager
    def _opened(self) -> Iterator[parquet.ParquetFile]:
        """Opens the file for reading in this thread alone: one of Arrow's own may outlive Python, and abort it."""
        from pyarrow import ArrowException
        from pyarrow import parquet as of_arrow

        system, path = filesystem(self.name)
        try:
            with system.open(path, "rb") as file:
                yield of_arrow.ParquetFile(file, pre_buffer=False)
        except (ArrowException, OSError) as cause:
            raise UserError(
                f"{self.name} is missing, cut short or damaged: {' '.join(str(cause).split())[:200]}.",
                "A whole Parquet file was expected.",
                "Correct the pattern, or fetch the file again.",
            ) from cause


def _files(pattern: str) -> list[str]:
    """Returns the files of a pattern or folder, in order."""
    system, path = filesystem(pattern)
    if system.isdir(path):
        return expand(f"{pattern.rstrip('/')}/*.parquet")
    return expand(pattern)


def _labels(schema: pa.Schema, place: str) -> dict[str, list[str]]:
    """Returns column -> names of its numbers, as Hugging Face's metadata hold them.

    Raises:
        UserError: A name is empty, or not a text.
    """
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        found = {
            column: kind["names"]
            for column, kind in features.items()
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel" and isinstance(kind.get("names"), list)
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}  # it was written by somebody else
    for column, names in found.items():
        for name in names:
            if not isinstance(name, str):
                raise UserError(
                    f"{place}: a label of {column!r} is {shown(name)}.", "Labels are names.", "Mend the table."
                )
    return {
        column: [filled(name, f"{place}: a label of {column!r}") for name in names] for column, names in found.items()
    }
