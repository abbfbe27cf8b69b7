"""WebDataset: samples as neighbouring members of tar files, read at random through an index.

Format: A. Aizman et al., High Performance I/O for Large Scale Deep Learning, 2019, arXiv:2001.01858;
members whose names agree up to the first dot of the base name are one sample.
"""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import field

import numpy as np

from sensorium import Dataset, MediaError, Sample, UserError
from sensorium.builtin.datasets.cache import Cache, Store, name_of
from sensorium.builtin.datasets.files import expand, listing
from sensorium.builtin.datasets.mapped import Writer, mapped
from sensorium.builtin.datasets.shards import REQUESTS, Shard, found
from sensorium.builtin.datasets.tars import INDEX, Member, beside, read_index, samples, scan
from sensorium.builtin.values import clean

TEXT = ("text", "label")
"""Modalities whose members are handed out as strings; all others are bytes."""

TOGETHER = 64
"""Shards whose members are read at a time, when their index is built."""


class WebDataset(Dataset):
    """Tar files of media and text, local or at any fsspec URI, with random access.

    An index of each shard is written beside it as `<shard>.index.json` where that is allowed, and made again when the
    shard's size or time has changed; that of a split lies in the cache, mapped by all processes. Shards at a URI are
    fetched whole where they are read in sequence (`training.shuffle: blocks`, evaluations), or where all of the split
    finds room in the cache; else each sample is a request.
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

        cache: Cache = field(default_factory=Cache)
        """Where shards that are fetched are kept, and the indices of the splits."""

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
        self.fields = self._first_fields(self._shards(self.splits[0]))  # type: ignore[misc]

    def open(self, split: str) -> Members:
        """Returns one split, in the order of its shards."""
        return Members(found(self._shards(split), "tar"), self.config.fields, self.fields, self.config.cache.open())

    def _shards(self, split: str) -> list[str]:
        return [shard for shard in expand(self.patterns[split]) if not shard.endswith(INDEX)]

    def _first_fields(self, shards: Sequence[str]) -> dict[str, str]:
        """Returns the fields of the first sample that has any, of the first shard that is not empty."""
        for shard in shards:
            (first,) = found([shard], "tar")
            seen = set[str]()
            for _, members, others in samples(beside(first) or scan(shard, shard), self.config.fields, shard):
                if members:
                    return {name: self.config.modalities.get(name, name) for name in members}
                seen.update(ending or "no ending" for ending in others)
            if seen:
                raise UserError(
                    f"{shard} holds no member that `fields` names; there are {listing(seen)}.",
                    f"Endings that are read: {listing(self.config.fields, 20)}.",
                    "Add the endings of its members to `fields`.",
                )
        raise _empty(shards)


class Members:
    """A split: its index tells of each sample where the bytes of its fields lie.

    Args:
        files: The tar files.
        endings: Ending of a member's name -> field.
        fields: Field -> modality; every sample has them all.
        store: Where the index is kept, and what is fetched.

    Raises:
        UserError: A shard is damaged, or a sample lacks a field or occurs twice.
    """

    def __init__(
        self, files: Sequence[Shard], endings: Mapping[str, str], fields: Mapping[str, str], store: Store
    ) -> None:
        self.files, self.fields, self.store = files, fields, store
        made_from = [[file.uri, file.size, file.modified] for file in files]
        name = name_of("index", "tars", made_from, dict(endings), list(fields))
        self.rows = mapped(store, name, lambda: _index(files, endings, fields, store))
        self.shards = self.rows["shards"]
        self.whole = sum(file.size for file in files) <= store.bound
        if dropped := Counter(self.rows.about["dropped"]):
            kinds = ", ".join(f"{count} of {ending or 'no ending'}" for ending, count in dropped.most_common(5))
            print(
                f"{files[0].uri}{' and others' if len(files) > 1 else ''}: left out {dropped.total()} samples that "
                f"`fields` names no member of: {kinds}.",
                file=sys.stderr,
            )

    def __len__(self) -> int:
        return int(self.shards[-1])

    def __getitem__(self, index: int) -> Sample:
        if not 0 <= index < len(self):
            raise IndexError(index)
        file = self.files[int(np.searchsorted(self.shards, index, "right")) - 1]
        spans = self.rows["spans"][index].tolist()  # (F, 2): where the bytes of each field begin and end
        start, end = min(begin for begin, _ in spans), max(end for _, end in spans)
        data = file.read(start, end, self.store, self.whole) if end > start else b""
        key = self.rows.text("keys", index)
        sample: Sample = {"id": f"{file.stem}/{key}"}
        for (name, modality), (begin, stop) in zip(self.fields.items(), spans, strict=True):
            raw = data[begin - start : stop - start]
            sample[name] = _string(raw, f"{file.uri}, {name!r} of {key!r},") if modality in TEXT else raw
        return sample

    def place(self, index: int) -> str:
        """Returns the shard and the key of a sample."""
        return (
            f"{self.files[int(np.searchsorted(self.shards, index, 'right')) - 1].uri}, {self.rows.text('keys', index)}"
        )

    def fetch(self, shard: int) -> float:
        """Fetches a shard, and returns which share of the cache it takes."""
        return self.files[shard].fetch(self.store)


def _index(files: Sequence[Shard], endings: Mapping[str, str], fields: Mapping[str, str], store: Store) -> Writer:
    """Returns the index of a split."""
    writer, dropped = Writer(), Counter[str]()
    twice = {stem for stem, count in Counter(file.stem for file in files).items() if count > 1}
    seen: defaultdict[str, set[str]] = defaultdict(set)
    starts = [0]
    for file, members in _members(files, store):
        known = seen[file.stem] if file.stem in twice else set()
        keys, spans = [], []
        for key, own, others in samples(members, endings, file.uri):
            if not own:
                dropped[" + ".join(sorted(others))] += 1
                continue
            if key in known:
                raise UserError(
                    f"{file.uri}: the sample {key!r} occurs more than once.",
                    "Members of one sample lie next to each other, and shards have names of their own.",
                    "Write the shard again in the order of its keys.",
                )
            if absent := fields.keys() - own.keys():
                raise UserError(
                    f"{file.uri}: the sample {key!r} has no {listing(absent)}.",
                    f"Every sample has {listing(fields, 20)}, as the first one has.",
                    "Complete the shard, or take the ending out of `fields`.",
                )
            known.add(key)
            keys.append(key)
            spans.append([(own[name].offset, own[name].offset + own[name].size) for name in fields])
        writer.add("spans", np.array(spans, np.int64).reshape(len(keys), len(fields), 2))
        writer.add_texts("keys", keys)
        starts.append(starts[-1] + len(keys))
    if not starts[-1]:
        raise _empty([file.uri for file in files])
    writer.add("shards", starts)
    writer.about["dropped"] = dropped
    return writer


def _empty(shards: Sequence[str]) -> UserError:
    verb = "holds" if len(shards) == 1 else "hold"
    return UserError(f"{listing(shards)} {verb} no samples.", "A split has at least one.", "Correct the pattern.")


def _members(files: Sequence[Shard], store: Store) -> Iterator[tuple[Shard, list[Member]]]:
    """Yields the members of each shard, read from several at a time where they lie afar."""
    with ThreadPoolExecutor(REQUESTS if any(file.far for file in files) else 1) as pool:
        for start in range(0, len(files), TOGETHER):
            some = files[start : start + TOGETHER]
            yield from zip(some, pool.map(lambda file: read_index(file, store), some), strict=True)


def _string(raw: bytes, place: str) -> str:
    try:
        return clean(raw.decode())
    except UnicodeDecodeError as cause:
        raise MediaError(f"{place} is not UTF-8 text: {cause.reason}.", "Expected text.", "Mend the shard.") from cause
