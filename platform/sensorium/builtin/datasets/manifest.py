"""Manifest: one's own data, as a CSV or JSON-lines file that names text, labels and media."""

from __future__ import annotations

import hashlib
import io
import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from itertools import islice
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from sensorium import Dataset, Sample, UserError, expanded
from sensorium.builtin.datasets.cache import Cache, name_of
from sensorium.builtin.datasets.cells import INLINE, cell
from sensorium.builtin.datasets.files import (
    csv_rows,
    decode,
    empty_cell,
    filesystem,
    lines,
    listing,
    require,
    require_media,
    told,
    unread,
)
from sensorium.builtin.datasets.mapped import Arrays, Writer, mapped
from sensorium.builtin.values import clean, composed, filled, once, parse, shown

Row = dict[str, Any]
WRITTEN = ("label", "number", "vector", "tags")
"""Modalities whose values are kept as JSON; all others are texts."""
TOGETHER = 1 << 14
"""Rows that are in memory at a time while the index is built."""
LARGE = 1 << 26
"""Bytes of a table that is told from another one by its time; the content of smaller ones is looked at."""
LOOKED_AT = 100_000
"""Media of a field that are looked for before training, evenly over the table."""


class Manifest(Dataset):
    """Samples from a CSV (with a header) or JSON-lines file, one a row, local or at any fsspec URI.

    Columns `id` and `group`, where there are any, give the samples' ids and groups. Paths of media
    are relative to the file's own folder, unless they are absolute or URIs.
    """

    config: Config

    class Config(Dataset.Config):
        """Options of a manifest."""

        fields: dict[str, str]
        """Column -> modality that reads it: image, audio, video, text, label, number, vector, tags, or a plugin's.
        In CSV a vector is a JSON list, and so are tags, or they have ; between them."""

        train: str = ""
        """Path or URI of the training split, ending in .csv or .jsonl; empty when there is none."""

        validation: str = ""
        """Path or URI of the validation split; empty when there is none."""

        test: str = ""
        """Path or URI of the test split; empty when there is none."""

        cache: Cache = field(default_factory=Cache)
        """Where the rows are kept as arrays that all processes of a machine map."""

        def __post_init__(self) -> None:
            if not (self.train or self.test):
                raise ValueError("train or test must name a file.")
            if not self.fields or {"id", "group"} & self.fields.keys():
                raise ValueError("fields must name at least one column, and neither id nor group.")
            for name in (self.train, self.validation, self.test):
                if name and not name.endswith((".csv", ".jsonl")):
                    raise ValueError(f"{name!r} must end in .csv or .jsonl.")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.files = {"train": config.train, "validation": config.validation, "test": config.test}
        self.splits = tuple(split for split, name in self.files.items() if name)
        self.fields = dict(config.fields)  # type: ignore[misc]

    def open(self, split: str) -> Rows:
        """Returns one split, in the order of its file."""
        source = expanded(self.files[split])
        stamp = _stamp(source)
        name = name_of("index", "manifest", source, stamp, self.fields)
        rows = Rows(mapped(self.config.cache.open(), name, lambda: _index(source, self.fields)), source, self.fields)
        for field_name, modality in self.fields.items():
            if modality not in INLINE and self.config.broken == "refuse":
                some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), LOOKED_AT), dtype=np.int64))
                paths = (rows.value(field_name, row) for row in some.tolist())
                require_media((path for path in paths if "://" not in path), source)
        return rows


class Column(Sequence[Any]):
    """The values of a field, read from the arrays as they are asked for."""

    def __init__(self, value: Callable[[str, int], Any], name: str, length: int) -> None:
        self.value, self.name, self.length = value, name, length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: Any) -> Any:
        if not 0 <= index < self.length:
            raise IndexError(index)
        return self.value(self.name, index)


class Rows:
    """A split: the rows of a table as mapped arrays.

    Args:
        arrays: What `_index` wrote.
        source: The table's file.
        fields: Column -> modality.
    """

    def __init__(self, arrays: Arrays, source: str, fields: Mapping[str, str]) -> None:
        self.arrays, self.source, self.fields = arrays, source, fields
        self.own = arrays.about["own"]
        names = ("id", *(name for name in self.own if name != "id"), *fields)
        self.columns = {name: Column(self.value, name, len(self)) for name in names}

    def __len__(self) -> int:
        return len(self.arrays["lines"])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return {name: column[index] for name, column in self.columns.items()}

    def value(self, name: str, index: int) -> Any:
        """Returns what a row has for a field, its group or its id: where none is written, its place in the table."""
        if name == "id" and name not in self.own:
            return str(index)
        text = self.arrays.text(name, index)
        return json.loads(text) if self.fields.get(name) in WRITTEN else text

    def place(self, index: int) -> str:
        """Returns file and line of a row."""
        return f"{self.source}:{self.arrays['lines'][index]}"


def _index(source: str, fields: Mapping[str, str]) -> Writer:
    """Returns the rows of a table, each value as its modality takes it.

    Raises:
        UserError: The table is not what it should be; names file and line.
    """
    writer = Writer()
    own: list[str] | None = None
    hashes = array("q")
    first = 0
    with _opened(source) as text:
        rows = _checked(text, source, fields)
        while some := list(islice(rows, TOGETHER)):
            for line, row in some:
                place = f"{source}:{line}"
                if own is None:
                    own, first = [name for name in ("id", "group") if name in row], line
                for name in {"id", "group"} & row.keys() - set(own):
                    raise UserError(
                        f"{place} has {name!r}, which {source}:{first} lacks.",
                        "Every line has it, or none.",
                        "Correct the lines.",
                    )
                for name in own:
                    row[name] = _name(row.get(name), name, place)
                if "id" in own:
                    hashes.append(hash(row["id"]))
            writer.add("lines", [line for line, _ in some])
            for name in own or ():
                writer.add_texts(name, (row[name] for _, row in some))
            for name, modality in fields.items():
                values = (cell(row[name], modality, source, f"{source}:{line}, {name!r},") for line, row in some)
                writer.add_texts(name, map(json.dumps, values) if modality in WRITTEN else values)
    if own is None:
        raise UserError(
            f"{source} holds no samples.",
            "A split has at least one.",
            "Choose another file or folder, or leave the split out.",
        )
    if "id" in own:
        _once(hashes, source, fields)
    writer.about["own"] = own
    return writer


def _name(raw: Any, column: str, place: str) -> str:
    """Returns an id or the name of a group."""
    if raw in (None, ""):
        raise empty_cell(place, column)
    if not isinstance(raw, str) and type(raw) is not int:
        raise UserError(
            f"{place}, {column!r}, is {shown(raw)}.", "A string or a whole number was expected.", "Correct the value."
        )
    return filled(str(raw), f"{place}, {column!r},")


def _once(hashes: array[int], source: str, fields: Mapping[str, str]) -> None:
    """Checks that no id is there twice, by their hashes; those that two share are read again."""
    ordered = np.sort(np.frombuffer(hashes, np.int64))
    twice = set(ordered[1:][ordered[1:] == ordered[:-1]].tolist())
    if twice:
        with _opened(source) as text:
            ids = ((clean(str(row["id"])), line) for line, row in _checked(text, source, fields))
            once(((name, f"{source}:{line}") for name, line in ids if hash(name) in twice), "id")


@contextmanager
def _opened(source: str) -> Iterator[TextIO]:
    """Opens a table as text; what is not UTF-8 is told with its line."""
    data = Path(source) if "://" not in source else io.BytesIO(_read(source))
    try:
        with data.open("rb") if isinstance(data, Path) else data as raw:
            yield io.TextIOWrapper(raw, "utf-8-sig", newline="" if source.endswith(".csv") else "\n")
    except UnicodeDecodeError:
        decode(data.read_bytes() if isinstance(data, Path) else _read(source), source)
        raise


def _stamp(source: str) -> Any:
    """Returns what changes when a table does: of a large one size and time, which are known at once."""
    if "://" not in source:
        found = require(Path(source), "manifest", "Correct the path.").stat()
        if found.st_size > LARGE:
            return found.st_size, found.st_mtime_ns
        return hashlib.blake2b(Path(source).read_bytes()).hexdigest()
    return hashlib.blake2b(_read(source)).hexdigest()


def _read(source: str) -> bytes:
    system, path = filesystem(source)
    with told(lambda cause: unread(source, cause, "Expected a CSV or JSON-lines file.")):
        content: bytes = system.cat_file(path)
    return content


def _checked(text: TextIO, source: str, fields: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    """Yields the number and the columns of each line."""
    return (_csv if source.endswith(".csv") else _json_lines)(text, source, fields)


def _csv(text: TextIO, source: str, columns: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    empty = [column for column, modality in columns.items() if modality == "tags"]  # none may be true
    yield from csv_rows(text, source, tuple(columns), empty)


def _json_lines(text: TextIO, source: str, columns: Mapping[str, str]) -> Iterator[tuple[int, Row]]:
    for number, line in lines(text):
        place = f"{source}:{number}"
        row = parse(line, source, "one JSON object in each line", number)
        if not isinstance(row, dict):
            raise UserError(f"{place} is not a JSON object.", "Each line is one.", "Correct the line.")
        for column, modality in columns.items():
            if composed(column) not in row:
                raise UserError(
                    f"{place} has no {column!r}.",
                    f"It has {listing(row, 20)}.",
                    "Correct the line, or `fields` in the experiment.",
                )
            value = row[column] = row[composed(column)]
            if value is None or value in ([], "") or (isinstance(value, str) and not clean(value)):
                if modality == "tags" and value == []:
                    continue
                raise empty_cell(place, column)
        yield number, row
