"""A digest of data, equal for equal data wherever they lie: of their number, their columns, and some drawn samples."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import fsspec
import numpy as np
import torch

from sensorium.assembly import checks
from sensorium.contracts.dataset import Split
from sensorium.contracts.modality import Modality
from sensorium.engine.permutation import Permutation
from sensorium.engine.storage import persistent
from sensorium.paths import expanded

if TYPE_CHECKING:
    from sensorium.assembly.build import Assembly

DRAWN = 16
"""Samples of a split whose media are read."""
MOST = 2**20
"""Bytes of a file that are read."""
WRITTEN = 1_000_000
"""Samples up to which all columns of a split are read that lie in memory."""


def digests(assembly: Assembly) -> dict[str, str]:
    """Returns split -> digest of its data, of those that a training reads."""
    experiment, splits = assembly.loaded.experiment, assembly.splits
    used = checks.used(assembly.task, experiment.training, experiment.evaluation)
    return {name: digest(splits[name], assembly.modalities, experiment.run.threads) for name in used if name in splits}


def digest(split: Split, modalities: Mapping[str, Modality], threads: int) -> str:
    """Returns the digest of a split, 16 hexadecimal digits.

    It follows from the number of samples, from all values of a split that has `columns`, with the mere names of files,
    and from ids, values and the beginnings of files of a few samples, the same ones each time. A change of other
    samples' media is not seen.

    Args:
        split: The data.
        modalities: Field -> modality, of the fields that are read.
        threads: Number of threads that read.
    """
    fields = ["id", "group", *sorted(modalities)]
    media = {name for name, modality in modalities.items() if modality.accepts}
    found = hashlib.blake2b(json.dumps([len(split), sorted(modalities)]).encode(), digest_size=8)
    columns = getattr(split, "columns", None)
    if columns is not None and len(split) <= WRITTEN:
        for name in fields:
            for value in _told(columns.get(name, ()), name in media):
                found.update(value)
    places = Permutation(len(split), 0).at(range(min(DRAWN, len(split)))).tolist()
    with ThreadPoolExecutor(threads or 1) as pool:
        for sample in pool.map(lambda index: _sample(split[index], fields, media), places):
            found.update(sample)
    return found.hexdigest()


def _told(column: Sequence[Any], media: bool) -> Iterator[bytes]:
    if isinstance(column, np.ndarray):
        yield _bytes(column)
        return
    for value in column:
        yield _bytes(_name(value) if media and isinstance(value, str) else value)


def _name(path: str) -> str:
    """Returns the name of a file, in which an address writes what is special with a %."""
    name = path.rpartition("/")[2]
    return unquote(name) if path.startswith(("http://", "https://")) else name


def _sample(sample: Mapping[str, Any], fields: Sequence[str], media: set[str]) -> bytes:
    values = {name: sample[name] for name in fields if name in sample}
    found = hashlib.blake2b()
    for name, value in values.items():
        found.update(name.encode())
        found.update(_start(value) if name in media and isinstance(value, str) else _bytes(value))
    return found.digest()


def _start(path: str) -> bytes:
    """Returns the beginning of a file; of one that cannot be read, which is told when it is trained on, nothing."""

    def read() -> bytes:
        with fsspec.open(expanded(path), "rb") as file:
            content: bytes = file.read(MOST)
            return content

    try:
        return persistent(read)
    except Exception:  # noqa: BLE001 (each kind of file system has exceptions of its own)
        return b""


def _bytes(value: Any) -> bytes:
    """Returns a value with its length, so that no two sequences of values are told alike."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value).tobytes() + str((value.shape, value.dtype)).encode()
    else:
        data = value if isinstance(value, bytes) else json.dumps(value, sort_keys=True, default=str).encode()
    return len(data).to_bytes(8, "little") + data
