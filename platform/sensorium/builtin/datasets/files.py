"""What the readers share: files that must be there, tables, and a split as columns."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import unquote

import fsspec

from sensorium import Sample, UserError, expanded, unknown
from sensorium.builtin.values import clean, composed, once

COMPARED = 10_000
"""Names of a folder that a mistyped one is compared with."""
BRACES = re.compile(r"\{(\d+)\.\.(\d+)\}")


class Columns:
    """A split held as one sequence for each field of its samples.

    Args:
        columns: Field -> list or array of the values of all samples, among them `id`.
        source: File or folder that they come from, for messages.
        places: File and line of each sample, where they come from a file of lines.

    Raises:
        UserError: There are no samples, or an id occurs twice.
    """

    def __init__(self, columns: Mapping[str, Any], source: object, places: Sequence[str] | None = None) -> None:
        ids = columns["id"]
        if not len(ids):
            raise UserError(
                f"{source} holds no samples.",
                "A split has at least one.",
                "Choose another file or folder, or leave the split out.",
            )
        if len(set(ids)) < len(ids):
            counted = (f"sample {number} of {source}" for number in range(1, len(ids) + 1))
            once(zip(ids, places or counted, strict=True), "id")
        self.columns = dict(columns)
        self.source, self.places = str(source), places

    def __len__(self) -> int:
        return len(self.columns["id"])

    def __getitem__(self, index: int) -> Sample:
        # Copies, so that nobody changes an array of the data set itself.
        return {name: copy(column[index]) for name, column in self.columns.items()}

    def place(self, index: int) -> str:
        """Returns file and line of a sample, or the file or folder."""
        return self.source if self.places is None else self.places[index]


def listing(names: Iterable[str], most: int = 5) -> str:
    """Returns the first names in order, and how many more there are."""
    known = sorted(names)
    more = f" and {len(known) - most} more" if len(known) > most else ""
    return ", ".join(known[:most]) + more if known else "nothing"


def require(path: Path, what: str, hint: str) -> Path:
    """Returns `path`, with `~` expanded.

    Raises:
        UserError: It does not exist; says what the nearest folder above it holds, and which name there is nearest.
    """
    path = Path(expanded(path))
    if path.exists():
        return path
    folder = next(parent for parent in path.parents if parent.is_dir())
    there = [entry.name for entry in folder.iterdir()]
    near = get_close_matches(path.relative_to(folder).parts[0], there[:COMPARED], n=1)
    where = folder if folder.name else folder.absolute()
    raise UserError(
        f"There is no {what} at {path}.",
        f"{where} holds {listing(there)}.",
        f"Did you mean {near[0]!r}? {hint}" if near else hint,
    )


def require_media(paths: Iterable[str], source: object) -> None:
    """Checks that all files exist, by listing each of their folders once.

    Raises:
        UserError: Some do not exist; names the first and how many.
    """
    there: dict[Path, set[str]] = {}
    missing = []
    for path in map(Path, dict.fromkeys(paths)):
        folder = path.parent
        if folder not in there:
            there[folder] = _names(folder)
        if path.name not in there[folder]:
            missing.append(path)
    if missing:
        folder = missing[0].parent
        first = listing((f"{path!s:.300}" for path in missing), 3)
        raise UserError(
            f"{source} names files that are not there, {len(missing)} in all: {first}.",
            f"{folder!s:.300} holds {listing(there[folder])}.",
            f"Fetch what is missing, or correct the names in {source}.",
        )


def _names(folder: Path) -> set[str]:
    """Returns what a folder holds; one that cannot be there, as its name is too long, holds nothing."""
    try:
        return {entry.name for entry in folder.iterdir()}
    except (OSError, ValueError):
        return set()


def decode(data: bytes, source: object) -> str:
    """Returns UTF-8 text without a byte order mark.

    Raises:
        UserError: The bytes are something else.
    """
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        line = data.count(b"\n", 0, cause.start) + 1
        raise UserError(
            f"{source}:{line} is not UTF-8 text: {cause.reason}.",
            "Text files are in UTF-8.",
            "Convert it, for example with iconv.",
        ) from cause


def read_text(path: Path, what: str, hint: str) -> str:
    """Returns the text of a file, without a byte order mark.

    Args:
        path: The file.
        what: What it is, for messages.
        hint: What to do where it is missing.

    Raises:
        UserError: It is not there, cannot be read, or is not UTF-8.
    """
    try:
        return decode(require(path, what, hint).read_bytes(), path)
    except OSError as cause:
        raise UserError(f"{path} cannot be read: {cause.strerror}.", "A text file was expected.", hint) from cause


def lines(text: str | TextIO) -> Iterator[tuple[int, str]]:
    """Yields the number, from 1, and the text of each line that is not blank."""
    for number, line in enumerate(text.split("\n") if isinstance(text, str) else text, 1):
        if clean(line):
            yield number, line.rstrip("\r\n")


def csv_rows(
    text: str | TextIO, source: object, columns: Sequence[str], empty: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    """Yields the line and the cells by column of each row of a CSV file with a header, in whatever Unicode form.

    Args:
        text: The file's text, or the file, opened with `newline=""`.
        source: Its name, for messages.
        columns: The columns that must be there, without an empty cell.
        empty: Those among them that may be empty.

    Raises:
        UserError: A column is missing, a row has too many or too few cells or an empty one, or
            quotes do not match; names file and line.
    """
    reader = csv.DictReader(io.StringIO(text, newline="") if isinstance(text, str) else text, strict=True)
    try:
        header = reader.fieldnames = [composed(name) for name in reader.fieldnames or ()]
        once(((name, f"{source}:1, column {n}") for n, name in enumerate(header, 1)), "column")
        absent = [column for column in columns if composed(column) not in header]
        if absent:
            raise UserError(
                f"{source}:1 has no column {listing(absent)}.",
                f"It has {listing((f'{name:.60}' for name in header), 20)}.",
                "Correct the header, or the names in the experiment.",
            )
        for row in reader:
            place = f"{source}:{reader.reader.line_num}"
            if None in row or None in row.values():
                raise UserError(
                    f"{place} does not have {len(header)} cells, as the header has.",
                    "Each row has one cell for each column.",
                    "Put cells that hold a comma in double quotes.",
                )
            for column in columns:
                row[column] = row[composed(column)]
                if column not in empty and not clean(row[column]):
                    raise empty_cell(place, column)
            yield reader.reader.line_num, row
    except csv.Error as cause:
        raise UserError(
            f"{source}:{reader.reader.line_num} is not CSV: {cause}.",
            "A quote inside a quoted cell is doubled.",
            "Correct the line.",
        ) from cause


def empty_cell(place: str, column: str) -> UserError:
    """Returns the error for a row without a value for a column."""
    return UserError(
        f"{place} has no value for {column!r}.",
        "Every sample has a value in every field.",
        "Fill it in, or remove the row.",
    )


def name_in(uri: str) -> str:
    """Returns the name of a file at a path or URI, in which an address writes what is special with a %."""
    name = uri.rpartition("/")[2]
    return unquote(name) if uri.startswith(("http://", "https://")) else name


def filesystem(uri: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a path or URI, and the path on it.

    Raises:
        UserError: There is no such kind of URI, nothing is installed that reads it, or its server is down.
    """
    kind, kinds = uri.partition("://")[0], fsspec.available_protocols()
    if "://" in uri and kind.partition("::")[0] not in kinds:
        error = unknown("kind of URI", kind, kinds, uri)
        raise UserError(error.wrong, error.expected, error.hint or "Correct it, or give a path.")
    with told(lambda cause: unread(uri, cause, "Expected a URI that fsspec reads.")):
        try:
            system, path = fsspec.url_to_fs(expanded(uri))
        except ImportError as cause:
            raise UserError(
                f"{uri} cannot be read: {str(cause).rstrip('.')}.",
                "What reads a kind of URI is a package of its own.",
                "Install it (pip install 'sensorium[s3]', 'sensorium[gcs]', 'sensorium[azure]'), or use a local path.",
            ) from cause
    return system, path


@contextmanager
def told(error: Callable[[Exception], UserError]) -> Iterator[None]:
    """Says of a file system what it cannot do, whatever it raises: each kind has a library with exceptions of its own.

    Args:
        error: Returns the error for what was raised.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as cause:
        raise error(cause) from cause


def down(cause: BaseException | None) -> bool:
    """Returns whether a file system could not reach its server, by what it raised, or by what that was made of."""
    if cause is None:
        return False
    names = " ".join(kind.__name__ for kind in type(cause).__mro__)
    unreached = isinstance(cause, ConnectionError | TimeoutError) or "Connect" in names
    return unreached or down(cause.__cause__ or cause.__context__)


def unread(uri: str, cause: Exception, expected: str) -> UserError:
    """Returns the error for a file at a URI that cannot be read: a server that is down is told from a wrong name.

    Args:
        uri: The file's.
        cause: What its file system raised.
        expected: What was expected, as a sentence.
    """
    said = f"{' '.join(str(cause).split()).rstrip('.'):.300}"
    if down(cause):
        return UserError(
            f"The server of {uri} cannot be reached: {said or type(cause).__name__}.",
            "It is down, or the network between is.",
            "Try again later, or check the address.",
        )
    return UserError(
        f"{uri} cannot be read: {type(cause).__name__}{': ' if said else ''}{said}.",
        expected,
        "Check the address and your right to read it.",
    )


def expand(pattern: str) -> list[str]:
    """Returns the paths or URIs that a pattern with {000..009} or * stands for, in order.

    Raises:
        UserError: There is no such file; on other file systems, a * that fits none.
    """
    pattern = expanded(pattern)
    match = BRACES.search(pattern)
    if match:
        first, last = match.groups()
        numbers = [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
        parts = [expand(pattern[: match.start()] + number + pattern[match.end() :]) for number in numbers]
        found = [shard for part in parts for shard in part]
    else:
        system, path = filesystem(pattern)
        with told(lambda cause: unread(pattern, cause, "Expected files that may be listed.")):
            found = sorted(system.glob(path)) if "*" in path or "?" in path else [path]
        if "://" in pattern:
            found = [system.unstrip_protocol(name) for name in found]
        else:
            found = [str(require(Path(name), "file", "Correct the pattern.")) for name in found or [path]]
    if not found:
        hint = " Where a server lists no files, count them: {000..009}." if pattern.startswith("http") else ""
        raise UserError(f"There is no file {pattern}.", "Expected one at least.", f"Correct the pattern.{hint}")
    return found
