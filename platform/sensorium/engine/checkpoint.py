"""Checkpoints: safetensors and JSON, and a model's card, in a folder that is complete or not there.

A folder is written beside its place, every file's SHA-256 goes into `manifest.json`, which is
written last; then the folder is renamed. Nothing in it is ever unpickled.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from sensorium.engine import folders
from sensorium.errors import SensoriumError, UserError

MANIFEST, CARD = "manifest.json", "README.md"
_NAME = re.compile(r"step-(\d{8})$")
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True)
class Checkpoint:
    """A folder whose files are as they were written.

    Attributes:
        folder: Local folder.
        uri: Where it lies on storage; the folder itself when that is local.
    """

    folder: Path
    uri: str

    @property
    def step(self) -> int:
        """Optimizer steps that it holds."""
        step: int = self.entry("state", "step", int)
        return step

    def document(self, name: str) -> Any:
        """Returns what `<name>.json` holds, a mapping.

        Raises:
            UserError: It is not there, or holds something else.
        """
        path = self.folder / f"{name}.json"
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError) as cause:
            raise UserError(f"{path} cannot be read: {cause}.", "", "Take another checkpoint.") from cause
        if not isinstance(content, dict):
            raise UserError(
                f"{path} holds a {type(content).__name__}.", "A mapping was expected.", "Take another checkpoint."
            )
        return content

    def entry(self, document: str, name: str, kind: type) -> Any:
        """Returns what a document holds under a name.

        Raises:
            UserError: It is not there, or of another type.
        """
        content = self.document(document)
        if not isinstance(content.get(name), kind) or type(content[name]) is bool is not kind:
            raise UserError(
                f"{self.folder / document}.json has no {name!r}, or one that is a {type(content.get(name)).__name__}.",
                f"A {kind.__name__} was expected.",
                "Take another checkpoint.",
            )
        return content[name]

    def tensors(self, name: str) -> dict[str, Tensor]:
        """Returns what `<name>.safetensors` holds.

        Raises:
            UserError: It is not a safetensors file.
        """
        path = self.folder / f"{name}.safetensors"
        try:
            return dict(load_file(path))
        except (SafetensorError, OSError) as cause:
            raise UserError(
                f"{path} holds no tensors: {cause}.", "Weights are safetensors.", "Take another checkpoint."
            ) from cause


def open_checkpoint(folder: str | Path, wanted: Collection[str] | None = None) -> Checkpoint:
    """Returns a local checkpoint or model after comparing its files with the manifest.

    Args:
        folder: Where it lies.
        wanted: Names of the files that are read; None for all.

    Raises:
        UserError: It is not a checkpoint, is incomplete, was changed, or holds a foreign file.
    """
    path = Path(folder)
    if not path.is_dir():
        raise UserError(
            f"{folder} is not a folder.",
            "A model is a checkpoint folder, runs:/… or models:/NAME@ALIAS.",
            "Check the path.",
        )
    reason = _fault(path, wanted)
    if reason:
        raise UserError(
            f"{folder} is not a whole checkpoint: {reason}.",
            "Nothing of it is read, because files may have been torn or exchanged.",
            "Take the checkpoint before it.",
        )
    return Checkpoint(path, str(folder))


def _fault(folder: Path, wanted: Collection[str] | None = None) -> str:
    try:
        if strange := elsewhere(folder.iterdir()):
            return strange
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        expected: dict[str, str] = manifest["sha256"]
        names = sorted(expected.keys())
    except OSError:
        return f"{MANIFEST} is missing"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return f"{MANIFEST} is broken"
    present = {path.name for path in folder.iterdir()} - {MANIFEST}
    for name in sorted(present - set(names)):
        return f"{name} does not belong to it"
    for name in names if wanted is None else wanted:
        if name != CARD and not name.endswith((".safetensors", ".json")):
            return f"{name} is neither safetensors nor JSON"
        if name not in present or not (folder / name).is_file():
            return f"{name} is missing"
        if _sha256(folder / name) != expected.get(name):
            return f"{name} is not as it was written"
    return ""


def elsewhere(paths: Iterable[Path]) -> str:
    """Says which of somebody's files is a link, or would never end; an empty string where none is."""
    for path in sorted(paths):
        if path.is_symlink():
            return f"{path.name} is a link, and none is followed"
        if not path.is_file() and not path.is_dir():
            return f"{path.name} is a pipe or a device, and none is read"
    return ""


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class Store:
    """The checkpoints of one run, on a local folder or any fsspec URI.

    Writing happens in a thread: `save` copies the tensors and returns. One save is under way at a
    time; a failure of it is raised by the next call.

    Args:
        uri: Folder or URI of the run's checkpoints.
        keep: Number of latest checkpoints kept.
    """

    def __init__(self, uri: str, keep: int = 2) -> None:
        self.uri, self.keep = uri.removeprefix("file://"), keep
        self.remote = "://" in self.uri
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None
        self._written: tuple[str, int] | None = None
        self._buffers: dict[tuple[str, str], Tensor] = {}
        self._fetched = tempfile.TemporaryDirectory(prefix="sensorium-") if self.remote else None
        self._there: dict[str, list[str]] | None = None

    def save(
        self, step: int, tensors: Mapping[str, Tensors], documents: Mapping[str, Any], kept: int | None = None
    ) -> None:
        """Copies the state and has it written as the checkpoint of a step.

        Args:
            step: Optimizer steps done.
            tensors: File -> name -> tensor, on any device.
            documents: File -> what JSON can hold.
            kept: Step of a checkpoint to spare beside the latest ones: the best one.

        Raises:
            SensoriumError: The save before this one failed (a full disk, a lost mount).
        """
        self.wait()
        copies = {
            file: {name: self._copy(file, name, t) for name, t in named.items()} for file, named in tensors.items()
        }
        frozen = json.loads(json.dumps(documents))
        # A daemon: a process that was told to end does not wait for a storage that hangs.
        arguments = (step, copies, frozen, kept)
        self._thread = threading.Thread(target=self._write, args=arguments, name="checkpoint", daemon=True)
        self._thread.start()

    def wait(self, seconds: float | None = None) -> None:
        """Waits until the save under way is on storage.

        Args:
            seconds: At most; what is not whole by then counts for nothing if the process ends.

        Raises:
            SensoriumError: It failed; says why. The checkpoints before it are untouched.
        """
        if self._thread is not None:
            self._thread.join(seconds)
            if self._thread.is_alive():
                return
            self._thread = None
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise SensoriumError(
                f"A checkpoint could not be written to {self.uri}: {failure}.",
                "The checkpoints before it are whole.",
                "Make room or mend the storage, then resume with `--resume`.",
            ) from failure

    def written(self) -> tuple[str, int] | None:
        """Returns folder and step of the last save, once, when it is complete; else None."""
        if self._thread is not None and self._thread.is_alive():
            return None
        done, self._written = self._written, None
        return done

    def latest(self) -> Checkpoint | None:
        """Returns the latest checkpoint that is whole, passing over torn ones; None if there is none."""
        for name in sorted(self._names(), reverse=True):
            folder = self._fetch(name)
            if not _fault(folder):
                return Checkpoint(folder, self._place(name))
        return None

    def get(self, step: int, wanted: Collection[str] | None = None) -> Checkpoint:
        """Returns the checkpoint of a step.

        Args:
            step: Its step.
            wanted: Names of the files that are read, such as `model.safetensors`; None for all.

        Raises:
            UserError: It is not there or not whole.
        """
        name = _name(step)
        found = open_checkpoint(self._fetch(name, wanted), wanted)
        return Checkpoint(found.folder, self._place(name))

    def adopt(self, other: Checkpoint) -> None:
        """Makes the checkpoint of another run the only one of this.

        Raises:
            UserError: It was removed, or is not whole.
        """
        open_checkpoint(other.folder)
        files = [path for path in other.folder.iterdir() if path.name != MANIFEST]
        tensors = {path.stem: other.tensors(path.stem) for path in files if path.suffix == ".safetensors"}
        documents = {path.stem: other.document(path.stem) for path in files if path.suffix == ".json"}
        write(self.place(other.step), tensors, documents)
        for name in self._names():
            if name != _name(other.step):
                self._remove(name)

    def _copy(self, file: str, name: str, tensor: Tensor) -> Tensor:
        # Buffers are kept from save to save: fresh memory costs more than the copy itself.
        buffer = self._buffers.get((file, name))
        if buffer is None or buffer.shape != tensor.shape or buffer.dtype != tensor.dtype:
            buffer = torch.empty(tensor.shape, dtype=tensor.dtype)
            self._buffers[file, name] = buffer
        return buffer.copy_(tensor.detach())

    def _write(self, step: int, tensors: Mapping[str, Tensors], documents: Mapping[str, Any], kept: int | None) -> None:
        name = _name(step)
        try:
            written = write(self._place(name), tensors, documents)
            self._contents()[name] = written
            self._prune(step, kept)
            self._written = (self._place(name), step)
        except BaseException as failure:  # noqa: BLE001 (handed to the training thread, which raises it)
            self._failure = failure

    def _prune(self, step: int, kept: int | None) -> None:
        # Later ones than this are torn, as are those without a manifest: an execution died of them, or soon after.
        there = self._contents()
        whole = [name for name in sorted(there) if name <= _name(step) and MANIFEST in there[name]]
        spared = {*whole[-self.keep :], *([] if kept is None else [_name(kept)])}
        for name in [*there]:
            if name not in spared:
                self._remove(name)

    def place(self, step: int) -> str:
        """Returns folder or URI of a step's checkpoint."""
        return self._place(_name(step))

    def _place(self, name: str) -> str:
        return f"{self.uri.rstrip('/')}/{name}"

    def _names(self) -> list[str]:
        return [name for name in folders.names(self.uri) if _NAME.match(name)]

    def _contents(self) -> dict[str, list[str]]:
        """Returns name -> files of each checkpoint; a server is asked once, as nobody else writes there meanwhile."""
        if self._there is None or not self.remote:
            self._there = {name: folders.names(self._place(name)) for name in self._names()}
        return self._there

    def _fetch(self, name: str, wanted: Collection[str] | None = None) -> Path:
        if self._fetched is None:
            return Path(self.uri) / name
        folder, place = Path(self._fetched.name) / name, self._place(name)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        there = folders.names(place)
        if MANIFEST in there:  # else it is torn, and nothing of it is read
            folders.fetch(place, there if wanted is None else {MANIFEST, *wanted} & {*there}, folder)
        return folder

    def _remove(self, name: str) -> None:
        if self.remote:
            folders.remove(self._place(name), self._contents().pop(name, ()))
            return
        # The manifest goes first, so that a torn removal leaves no checkpoint that seems whole.
        (Path(self.uri) / name / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(Path(self.uri) / name)


def _name(step: int) -> str:
    return f"step-{step:08d}"


def write(place: str, tensors: Mapping[str, Tensors], documents: Mapping[str, Any]) -> list[str]:
    """Writes a folder, local or at an fsspec URI, that is complete or counts for nothing; returns its files' names."""
    if "://" not in place:
        publish(Path(place), lambda folder: _fill(folder, tensors, documents))
        return [path.name for path in Path(place).iterdir()]
    with tempfile.TemporaryDirectory() as folder:
        _fill(Path(folder), tensors, documents)
        return folders.send(Path(folder), place, MANIFEST)


def _fill(folder: Path, tensors: Mapping[str, Tensors], documents: Mapping[str, Any]) -> None:
    """Writes files and, last, the manifest with their hashes."""
    for name, named in tensors.items():
        save_file(_apart(named), folder / f"{name}.safetensors")
    for name, content in documents.items():
        file, text = (name, content) if name == CARD else (f"{name}.json", json.dumps(content, indent=1))
        (folder / file).write_text(text, encoding="utf-8")
    digests = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    (folder / MANIFEST).write_text(json.dumps({"sha256": digests}, indent=1), encoding="utf-8")
    for path in folder.iterdir():
        _sync(path)


def _apart(tensors: Tensors) -> dict[str, Tensor]:
    """Returns tensors that share no memory, which safetensors asks for and tied weights do."""
    apart: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        place = tensor.untyped_storage().data_ptr()
        apart[name] = tensor.clone(memory_format=torch.contiguous_format) if place in seen else tensor.contiguous()
        seen.add(place)
    return apart


def publish(place: Path, write: Callable[[Path], None]) -> None:
    """Has `write` fill a folder beside `place` and renames it, so that `place` is whole or absent."""
    place.parent.mkdir(parents=True, exist_ok=True)
    for left in place.parent.glob(f".{place.name}.*.partial"):  # by a process that was killed
        shutil.rmtree(left)
    partial = place.with_name(f".{place.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        write(partial)
        if place.exists():
            shutil.rmtree(place)
        partial.replace(place)
        _sync(place.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
