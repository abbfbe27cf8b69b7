"""The members of tar files: read from the headers, or from an index beside the file."""

from __future__ import annotations

import json
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import groupby
from typing import NamedTuple

from sensorium import UserError
from sensorium.builtin.datasets.cache import Store
from sensorium.builtin.datasets.files import filesystem, told
from sensorium.builtin.datasets.shards import Shard, part, unreadable

BLOCK = 512
"""Bytes of a tar file's block."""

INDEX = ".index.json"
"""What follows the name of a shard in the name of its index."""

NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")


class Member(NamedTuple):
    """A file inside a tar file: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


def read_index(shard: Shard, store: Store) -> list[Member]:
    """Returns the members of a shard, from the index beside it when that fits the file, else from the headers.

    Raises:
        UserError: The shard is cut short, damaged, or packed.
    """
    if (stored := beside(shard)) is not None:
        return stored
    copy = shard.fetched(store) if shard.far else None
    members = list(scan(shard.uri if copy is None else str(copy), shard.uri))
    system, path = filesystem(shard.uri)
    # Where it cannot be written, the index of the split in the cache spares reading the headers again.
    with suppress(Exception):  # each kind of file system has exceptions of its own
        system.pipe_file(path + INDEX, json.dumps({"stamp": _stamp(shard), "members": members}).encode())
    return members


def beside(shard: Shard) -> list[Member] | None:
    """Returns the members of a shard by the index beside it; None where there is none that fits the file."""
    system, path = filesystem(shard.uri)
    # None may be there, or none that may be read, or one that another process is writing just now.
    with suppress(Exception):
        stored = json.loads(system.cat_file(path + INDEX))
        if stored["stamp"] == _stamp(shard):
            return [Member(*member) for member in stored["members"]]
    return None


def _stamp(shard: Shard) -> dict[str, object]:
    return {"size": shard.size, "modified": shard.modified}


def scan(place: str, uri: str) -> Iterator[Member]:
    """Yields the files of a tar file, by reading its headers.

    Args:
        place: Where it is read, such as a copy.
        uri: What it is called, for messages.

    Raises:
        UserError: It is cut short, damaged, or packed.
    """
    system, path = filesystem(place)
    end = 0
    with told(lambda cause: unreadable(uri, "tar", cause)):
        with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                end = info.offset_data + -(-info.size // BLOCK) * BLOCK
                if info.isfile():
                    yield Member(info.name, info.offset_data, info.size)
        # tarfile takes a header that it cannot read for the end: only a block of zeros is one.
        if part(system, path, end, end + BLOCK) != bytes(BLOCK):
            raise tarfile.ReadError(f"no end mark at byte {end}")


def samples(
    members: Iterable[Member], endings: Mapping[str, str], shard: str
) -> Iterator[tuple[str, dict[str, Member], list[str]]]:
    """Yields the key of each sample, its members by field, and the endings that no field has."""
    named = ((NAME.fullmatch(member.name), member) for member in members)
    matched = (
        (match.group(1), match.group(2).lower(), member) if match else (member.name, "", member)
        for match, member in named
    )
    for key, group in groupby(matched, lambda item: item[0]):
        fields: dict[str, Member] = {}
        others = []
        for _, ending, member in group:
            name = endings.get(ending)
            if name in fields:
                raise UserError(
                    f"{shard}: the sample {key!r} has two members for {name!r}: {fields[name].name}, {member.name}.",
                    "Each field has one.",
                    "Take one of the endings out of `fields`.",
                )
            if name is None:
                others.append(ending)
            else:
                fields[name] = member
        yield key, fields, others
