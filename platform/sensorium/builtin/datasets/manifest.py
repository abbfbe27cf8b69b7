"""Manifest: one's own data, as a CSV or JSON-lines file that names text, labels and media."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sensorium import Dataset, UserError, expanded, unknown
from sensorium.builtin.datasets.cells import INLINE, cell
from sensorium.builtin.datasets.files import (
    Columns,
    csv_rows,
    decode,
    empty_cell,
    filesystem,
    lines,
    listing,
    require,
    require_media,
    unread,
)
from sensorium.builtin.values import clean, composed, filled, parse, shown

Row = dict[str, Any]


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

    def open(self, split: str) -> Columns:
        """Returns one split, in the order of its file."""
        if split not in self.splits:
            raise unknown("split", split, self.splits, "Manifest")
        source = self.files[split]
        rows = _csv if source.endswith(".csv") else _json_lines
        columns: dict[str, list[Any]] = {name: [] for name in ("id", "group", *self.fields)}
        places: list[str] = []
        extra: list[str] | None = None
        for place, row in rows(_read(source), source, self.fields):
            places.append(place)
            if extra is None:
                extra = [name for name in ("id", "group") if name in row]
            for name in {"id", "group"} & row.keys() - set(extra):
                raise UserError(
                    f"{place} has {name!r}, which {places[0]} lacks.",
                    "Every line has it, or none.",
                    "Correct the lines.",
                )
            for name in extra:
                if row.get(name) in (None, ""):
                    raise empty_cell(place, name)
                if not isinstance(row[name], str) and type(row[name]) is not int:
                    raise UserError(
                        f"{place}, {name!r}, is {shown(row[name])}.",
                        "A string or a whole number was expected.",
                        "Correct the value.",
                    )
                columns[name].append(filled(str(row[name]), f"{place}, {name!r},"))
            for name, modality in self.fields.items():
                columns[name].append(cell(row[name], modality, source, f"{place}, {name!r},"))
        count = len(next(columns[name] for name in self.fields))
        columns["id"] = columns["id"] or [str(index) for index in range(count)]
        if not columns["group"]:
            del columns["group"]
        for name, modality in self.fields.items():
            if modality not in INLINE and self.config.broken == "refuse":
                require_media((path for path in columns[name] if "://" not in path), source)
        return Columns(columns, source, places)


def _read(source: str) -> str:
    source = expanded(source)
    if "://" not in source:
        return decode(require(Path(source), "manifest", "Correct the path.").read_bytes(), source)
    system, path = filesystem(source)
    try:
        return decode(system.cat_file(path), source)
    except OSError as cause:
        raise unread(source, cause, "Expected a CSV or JSON-lines file.") from cause


def _csv(text: str, source: str, columns: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
    empty = [column for column, modality in columns.items() if modality == "tags"]  # none may be true
    for line, row in csv_rows(text, source, tuple(columns), empty):
        yield f"{source}:{line}", row


def _json_lines(text: str, source: str, columns: Mapping[str, str]) -> Iterator[tuple[str, Row]]:
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
        yield place, row
