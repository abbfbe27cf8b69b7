"""Arrays in a file that processes map: of any number of rows, opened at once, in memory once for all of them.

The file is a line of JSON, which says what each array is and where it lies, then the arrays, each at a multiple of 64
bytes. Texts are an array of their UTF-8 bytes, and one of where each ends.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from shutil import copyfileobj
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sensorium import UserError
from sensorium.builtin.datasets.cache import Content, Store

ALIGNED = 64
"""What each array's first byte is a multiple of."""


class Writer:
    """Collects arrays piece by piece in temporary files, for what does not fit in memory."""

    def __init__(self) -> None:
        self.about: dict[str, Any] = {}
        self._files: dict[str, BinaryIO] = {}
        self._shapes: dict[str, tuple[str, list[int]]] = {}
        self._ends: dict[str, int] = {}

    def add(self, name: str, values: ArrayLike, dtype: str = "int64") -> None:
        """Appends rows to an array."""
        rows = np.ascontiguousarray(values, dtype)
        file = self._files.setdefault(name, tempfile.TemporaryFile())  # noqa: SIM115 (goes with the writer)
        _, shape = self._shapes.setdefault(name, (dtype, [0, *rows.shape[1:]]))
        shape[0] += len(rows)
        file.write(rows.data)

    def add_texts(self, name: str, texts: Iterable[str | bytes]) -> None:
        """Appends texts, or bytes."""
        found = [text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text for text in texts]
        ends = np.cumsum([len(text) for text in found], dtype=np.int64) + self._ends.get(name, 0)
        self._ends[name] = int(ends[-1]) if len(ends) else self._ends.get(name, 0)
        self.add(f"{name}.bytes", np.frombuffer(b"".join(found), np.uint8), "uint8")
        self.add(f"{name}.ends", ends)

    def content(self) -> Content:
        """Returns the size of the file, and what writes it."""
        arrays, at = {}, 0
        for name, (dtype, shape) in self._shapes.items():
            arrays[name] = [dtype, shape, at]
            at += -(-self._files[name].tell() // ALIGNED) * ALIGNED
        head = json.dumps({"about": self.about, "arrays": arrays}).encode()
        head += b" " * (-(len(head) + 1) % ALIGNED) + b"\n"

        def write(file: BinaryIO) -> None:
            file.write(head)
            for part in self._files.values():
                part.seek(0)
                copyfileobj(part, file, 1 << 24)
                file.write(bytes(-file.tell() % ALIGNED))

        return len(head) + at, write


class Arrays(Mapping[str, NDArray[Any]]):
    """The arrays of a file, mapped; may be pickled, and is then mapped again.

    Attributes:
        about: What JSON can hold besides.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("rb") as file:
            head = file.readline()
        content = json.loads(head)
        self.about: dict[str, Any] = content["about"]
        whole = np.memmap(path, np.uint8, "r")
        self._arrays: dict[str, NDArray[Any]] = {}
        for name, (dtype, shape, at) in content["arrays"].items():
            start = len(head) + at
            part = whole[start : start + np.dtype(dtype).itemsize * int(np.prod(shape))]
            self._arrays[name] = part.view(np.ndarray).view(dtype).reshape(shape)

    def __reduce__(self) -> tuple[type[Arrays], tuple[Path]]:
        return Arrays, (self.path,)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self._arrays[name]

    def __iter__(self) -> Any:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def text(self, name: str, row: int) -> str:
        """Returns one of the texts of a name."""
        return self.bytes(name, row).decode("utf-8", "surrogatepass")

    def bytes(self, name: str, row: int) -> bytes:
        """Returns the bytes of one of the texts of a name."""
        ends = self._arrays[f"{name}.ends"]
        start = int(ends[row - 1]) if row else 0
        return self._arrays[f"{name}.bytes"][start : int(ends[row])].tobytes()


def mapped(store: Store, name: str, build: Callable[[], Writer]) -> Arrays:
    """Returns the arrays of an entry of the cache, which one process of a machine builds if they are not there.

    Raises:
        UserError: They find no room.
    """
    try:
        found = store.load(name, lambda: build().content(), Arrays)
    except OSError as cause:
        raise UserError(
            f"The index of the dataset cannot be kept in the cache {store.folder}: {cause.strerror or cause}.",
            f"It takes room there, and in {tempfile.gettempdir()} while it is made.",
            "Make room, or choose another cache.folder.",
        ) from cause
    if found is not None:
        return found
    raise UserError(
        f"The index of the dataset finds no room in the cache {store.folder}.",
        f"It holds {store.bound / 1e9:g} GB.",
        "Raise cache.gigabytes.",
    )
