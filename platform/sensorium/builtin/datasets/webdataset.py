"""WebDataset: samples as neighbouring members of tar files, read at random through an index.

Format: A. Aizman et al., High Performance I/O for Large Scale Deep Learning, 2019, arXiv:2001.01858;
members whose names agree up to the first dot of the base name are one sample.
"""

from __future__ import annotations

import json
import re
import sys
import tarfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import field
from itertools import groupby
from typing import Any, NamedTuple

from sensorium import Dataset, MediaError, Sample, UserError, unknown
from sensorium.builtin.datasets.files import down, expand, filesystem, listing, unread
from sensorium.builtin.values import clean

BLOCK = 512
"""Bytes of a tar file's block."""

INDEX = ".index.json"
"""What follows the name of a shard in the name of its index."""

TEXT = ("text", "label")
"""Modalities whose members are handed out as strings; all others are bytes."""

NAME = re.compile(r"((?:.*/)?[^/.]+)\.([^/]+)")


class Member(NamedTuple):
    """A file inside a tar file: its name, and where its bytes lie."""

    name: str
    offset: int
    size: int


class WebDataset(Dataset):
    """Tar files of media and text, local or at any fsspec URI, with random access.

    An index of each shard is written beside it as `<shard>.index.json` where that is allowed, and
    made again when the shard's size or time has changed.
    """

    config: Config

    class Config(Dataset.Config):
        """Options of a WebDataset."""

        train: str = ""
        """Shards of the training split: a path or URI with {000..009}, * or neither."""

        validation: str = ""
        """Shards of the validation split; empty when there is none."""

        test: str = ""
        """Shards of the test split; empty when there is none."""

        fields: dict[str, str] = field(
            default_factory=lambda: {
                **dict.fromkeys(("jpg", "jpeg", "png", "webp", "gif", "bmp", "tif", "tiff"), "image"),
                **dict.fromkeys(("wav", "flac", "ogg", "mp3"), "audio"),
                "txt": "text",
                "cls": "label",
            }
        )
        """Ending of a member's name, all after its first dot -> field. Others are left aside."""

        modalities: dict[str, str] = field(default_factory=dict)
        """Field -> modality that reads it, for fields that are not named after theirs."""

        def __post_init__(self) -> None:
            if not (self.train or self.test):
                raise ValueError("train or test must name shards.")
            if {"id", "group"} & set(self.fields.values()):
                raise ValueError("fields must not name a field id or group.")
            if not self.modalities.keys() <= set(self.fields.values()):
                raise ValueError("modalities must only name fields that `fields` names.")

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.patterns = {"train": config.train, "validation": config.validation, "test": config.test}
        self.splits = tuple(split for split, pattern in self.patterns.items() if pattern)
        self.fields = self._first_fields(expand(self.patterns[self.splits[0]])[0])  # type: ignore[misc]

    def open(self, split: str) -> Members:
        """Returns one split, in the order of its shards."""
        if split not in self.splits:
            raise unknown("split", split, self.splits, "WebDataset")
        shards = [shard for shard in expand(self.patterns[split]) if not shard.endswith(INDEX)]
        return Members(shards, self.config.fields, self.fields)

    def _first_fields(self, shard: str) -> dict[str, str]:
        for _, members, _ in samples(scan(shard), self.config.fields, shard):
            if not members:
                continue
            return {name: self.config.modalities.get(name, name) for name in members}
        raise UserError(
            f"{shard} holds no member that `fields` names.",
            f"Endings that are read: {listing(self.config.fields, 20)}.",
            "Add the endings of its members to `fields`.",
        )


class Members:
    """A split: for each sample its shard, its key, and where the bytes of each field lie.

    Args:
        shards: URIs of the tar files.
        endings: Ending of a member's name -> field.
        fields: Field -> modality; every sample has them all.

    Raises:
        UserError: A shard is damaged, or a sample lacks a field or occurs twice.
    """

    def __init__(self, shards: list[str], endings: Mapping[str, str], fields: Mapping[str, str]) -> None:
        self.fields = fields
        self.files = [filesystem(shard) for shard in shards]
        self.samples: list[tuple[int, str, dict[str, Member]]] = []
        seen = set()
        dropped: Counter[str] = Counter()
        for number, shard in enumerate(shards):
            stem = shard.rpartition("/")[2].removesuffix(".tar")
            for key, members, others in samples(read_index(shard), endings, shard):
                if not members:
                    dropped[" + ".join(sorted(others))] += 1
                    continue
                name = f"{stem}/{key}"
                if name in seen:
                    raise UserError(
                        f"{shard}: the sample {key!r} occurs more than once.",
                        "Members of one sample lie next to each other, and shards have names of their own.",
                        "Write the shard again in the order of its keys.",
                    )
                if absent := fields.keys() - members.keys():
                    raise UserError(
                        f"{shard}: the sample {key!r} has no {listing(absent)}.",
                        f"Every sample has {listing(fields, 20)}, as the first one has.",
                        "Complete the shard, or take the ending out of `fields`.",
                    )
                seen.add(name)
                self.samples.append((number, name, members))
        if dropped:
            kinds = ", ".join(f"{count} of {ending or 'no ending'}" for ending, count in dropped.most_common(5))
            print(
                f"{listing(shards, 1)}: left out {dropped.total()} samples that `fields` names no member of: {kinds}.",
                file=sys.stderr,
            )
        if not self.samples:
            raise UserError(f"{listing(shards)} hold no samples.", "A split has at least one.", "Correct the pattern.")

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Sample:
        number, name, members = self.samples[index]
        system, path = self.files[number]
        start = min(member.offset for member in members.values())
        end = max(member.offset + member.size for member in members.values())
        data = _part(system, path, start, end) if end > start else b""
        sample: Sample = {"id": name}
        for field_name, modality in self.fields.items():
            member = members[field_name]
            raw = data[member.offset - start : member.offset - start + member.size]
            sample[field_name] = _string(raw, f"{path}, {member.name}") if modality in TEXT else raw
        return sample


def read_index(shard: str) -> list[Member]:
    """Returns the members of a shard, from its index when that fits the file, else from the headers."""
    system, path = filesystem(shard)
    stamp = {"size": 0, "modified": ""}
    try:
        stamp["size"] = system.size(path)
        stamp["modified"] = str(system.modified(path))
    except OSError as cause:
        raise _unreadable(shard, cause) from cause
    except NotImplementedError:  # HTTP tells the size alone
        pass
    beside = path + INDEX
    # None may be there, or one that another process is writing just now.
    with suppress(OSError, ValueError, KeyError, TypeError):
        stored = json.loads(system.cat_file(beside))
        if stored["stamp"] == stamp:
            return [Member(*member) for member in stored["members"]]
    members = list(scan(shard))
    # Where it cannot be written the headers are read again the next time.
    with suppress(OSError, NotImplementedError):
        system.pipe_file(beside, json.dumps({"stamp": stamp, "members": members}).encode())
    return members


def scan(shard: str) -> Iterator[Member]:
    """Yields the files of a tar file, by reading its headers.

    Raises:
        UserError: It is cut short, damaged, or packed.
    """
    system, path = filesystem(shard)
    end = 0
    try:
        with system.open(path, "rb") as file, tarfile.open(fileobj=file, mode="r:") as archive:
            for info in archive:
                end = info.offset_data + -(-info.size // BLOCK) * BLOCK
                if info.isfile():
                    yield Member(info.name, info.offset_data, info.size)
        # tarfile takes a header that it cannot read for the end: only a block of zeros is one.
        if _part(system, path, end, end + BLOCK) != bytes(BLOCK):
            raise tarfile.ReadError(f"no end mark at byte {end}")
    except (tarfile.TarError, OSError) as cause:
        raise _unreadable(shard, cause) from cause


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


def _part(system: Any, path: str, start: int, end: int) -> bytes:
    """Returns the bytes of a file from one place to another.

    Raises:
        UserError: A server gives all of it instead.
    """
    with suppress(ValueError):  # by which some file systems say so
        data: bytes = system.cat_file(path, start=start, end=end)
        if len(data) <= end - start:
            return data
    raise UserError(
        f"The server of {path} gives whole files alone, not a part of one.",
        "Samples are read at random: the server has to answer requests for ranges of bytes.",
        "Use one that does, such as nginx, or fetch the shards.",
    )


def _string(raw: bytes, place: str) -> str:
    try:
        return clean(raw.decode())
    except UnicodeDecodeError as cause:
        raise MediaError(f"{place} is not UTF-8 text: {cause.reason}.", "Expected text.", "Mend the shard.") from cause


def _unreadable(shard: str, cause: Exception) -> UserError:
    if down(cause):
        return unread(shard, cause, "Expected a whole tar file that is not packed.")
    return UserError(
        f"The shard {shard} is missing, cut short or damaged: {cause}.",
        "Expected a whole tar file that is not packed.",
        "Correct the pattern, or write or fetch the shard again.",
    )
