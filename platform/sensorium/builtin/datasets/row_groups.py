"""A Parquet file: its footer, and its groups of rows, each read with a request or two and kept as Arrow writes it."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sensorium import MediaError, UserError
from sensorium.builtin.datasets.cache import Content, Store, name_of
from sensorium.builtin.datasets.cells import INLINE, cell
from sensorium.builtin.datasets.files import empty_cell, listing
from sensorium.builtin.datasets.shards import Shard
from sensorium.builtin.values import filled, shown

if TYPE_CHECKING:
    import pyarrow as pa

TAIL = 1 << 16
"""Bytes at the end of a file that are read first; most footers are smaller."""
GAP = 1 << 20
"""Bytes between two columns that are read along rather than asked for apart."""
MAGIC = b"PAR1"


class File:
    """A Parquet file, of which groups of rows are read.

    Args:
        shard: Where it lies.
        fields: Columns that it must have.
        footer: Its last bytes, from the footer on, by `read_footer`.

    Raises:
        UserError: It is not Parquet, or lacks a column.
    """

    def __init__(self, shard: Shard, fields: Mapping[str, str], footer: bytes) -> None:
        from pyarrow import parquet

        self.shard, self.name = shard, shard.uri
        with self._told():
            opened = parquet.ParquetFile(io.BytesIO(MAGIC + footer))
            self.metadata, schema = opened.metadata, opened.schema_arrow
        self.columns = set(schema.names)
        if absent := fields.keys() - self.columns:
            raise UserError(
                f"{self.name} has no column {listing(absent)}.",
                f"It has {listing(self.columns, 20)}.",
                "Correct `fields` in the experiment.",
            )
        self.labels = _labels(schema, self.name)
        self.rows = [int(self.metadata.row_group(number).num_rows) for number in range(self.metadata.num_row_groups)]

    def read(self, group: int, fields: Collection[str], store: Store) -> tuple[pa.Table, Path | None]:
        """Returns columns of a group, among them `id` and `group` where it has them, and where they lie in the cache.

        They are mapped, so that all processes share them; in memory, with no place, where they find no room.

        Raises:
            UserError: The file is damaged, or gone.
        """
        import pyarrow as pa

        columns = sorted({*fields, *({"id", "group"} & self.columns)})
        made: list[pa.Table] = []

        def make() -> Content:
            made.append(self._read(group, columns, store))
            sink = pa.BufferOutputStream()
            with pa.ipc.new_file(sink, made[0].schema) as writer:
                writer.write_table(made[0])
            content = sink.getvalue()
            return content.size, lambda file: file.write(content)

        name = name_of("group", self.name, self.shard.size, self.shard.modified, group, columns)
        with self._told():
            kept = store.load(name, make, lambda path: (pa.ipc.open_file(pa.memory_map(str(path))).read_all(), path))
            return (made[0], None) if kept is None else kept

    def _read(self, group: int, columns: list[str], store: Store) -> pa.Table:
        from pyarrow import parquet

        with self._told():
            source = _Parts(self.shard, store)
            source.ask(self._spans(group, columns))
            file = parquet.ParquetFile(source, metadata=self.metadata, pre_buffer=False)
            return file.read_row_group(group, columns=columns, use_threads=False).combine_chunks()

    def _spans(self, group: int, columns: Collection[str]) -> list[tuple[int, int]]:
        """Returns where the bytes of columns of a group lie, those of neighbours together."""
        content = self.metadata.row_group(group)
        spans: list[tuple[int, int]] = []
        chunks = [content.column(number) for number in range(content.num_columns)]
        chunks = [chunk for chunk in chunks if chunk.path_in_schema.partition(".")[0] in columns]
        for begin, size in sorted(
            (
                min(chunk.dictionary_page_offset or chunk.data_page_offset, chunk.data_page_offset),
                chunk.total_compressed_size,
            )
            for chunk in chunks
        ):
            end = min(begin + size, self.shard.size)
            if spans and begin <= spans[-1][1] + GAP:
                spans[-1] = spans[-1][0], max(spans[-1][1], end)
            else:
                spans.append((begin, end))
        return spans

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
    def _told(self) -> Iterator[None]:
        from pyarrow import ArrowException

        try:
            yield
        except (ArrowException, OSError) as cause:
            raise damaged(self.name, cause) from cause


class _Parts(io.RawIOBase):
    """A file for Arrow, which reads it in the calling thread alone: one of its own may outlive Python, and abort it."""

    def __init__(self, shard: Shard, store: Store) -> None:
        self._shard, self._store, self._at = shard, store, 0
        self._parts: list[tuple[int, bytes]] = []

    def ask(self, spans: Collection[tuple[int, int]]) -> None:
        """Reads parts that are going to be read, with a request each."""
        self._parts = [(begin, self._shard.read(begin, end, self._store)) for begin, end in spans if begin < end]

    def read(self, size: int = -1) -> bytes:
        """Returns the bytes that follow."""
        end = self._shard.size if size < 0 else min(self._at + size, self._shard.size)
        begin, self._at = self._at, max(self._at, end)
        for start, part in self._parts:
            if start <= begin and end <= start + len(part):
                return part[begin - start : end - start]
        return self._shard.read(begin, end, self._store) if end > begin else b""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place."""
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._shard.size}[whence]
        return self._at

    def tell(self) -> int:
        """Returns the place."""
        return self._at

    def readable(self) -> bool:
        """Returns that it is."""
        return True

    def seekable(self) -> bool:
        """Returns that it is."""
        return True


def read_footer(shard: Shard, store: Store) -> bytes:
    """Returns the last bytes of a Parquet file: the footer, its length, and the mark of the end.

    Raises:
        UserError: It is something else.
    """
    tail = shard.read(max(0, shard.size - TAIL), shard.size, store)
    length = int.from_bytes(tail[-8:-4], "little") + 8
    if tail[-4:] != MAGIC or length > shard.size:
        raise damaged(shard.uri, "no mark at its end")
    if length > len(tail):
        tail = shard.read(shard.size - length, shard.size, store)
    return tail[-length:]


def damaged(name: str, cause: object) -> UserError:
    """Returns the error for a file that cannot be read."""
    return UserError(
        f"{name} is missing, cut short or damaged: {' '.join(str(cause).split())[:200]}.",
        "A whole Parquet file was expected.",
        "Correct the pattern, or fetch the file again.",
    )


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
