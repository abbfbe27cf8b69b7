"""Storage by path or URI: what reads it, what does not come into being by a mistake, and servers that are away."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from sensorium.errors import MediaError, SensoriumError, UserError

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), "azure"),
}
"""Kind of URI -> extra of Sensorium that installs what reads it. All of these keep files in buckets, not in folders."""


PATIENCE = 120.0
"""Seconds for which a server that is away is waited for in the midst of a run."""
AT_ONCE = 10.0
"""Seconds in which a server is to answer before a run is begun."""
_AWAY = re.compile("Connect|Timeout|TimedOut|ServerDisconnected|IncompleteRead|PayloadError")
_REFUSED = re.compile("Credential|Authentication|Unauthorized|Forbidden|RefreshError")
"""In names of exceptions; each kind of storage has a library with exceptions of its own."""
Value = TypeVar("Value")


def files_at(uri: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a path or URI, and the path on it.

    Raises:
        UserError: There is no such kind of URI, or nothing is installed that reads it.
    """
    import fsspec

    try:
        return fsspec.core.url_to_fs(uri)  # type: ignore[no-any-return]
    except (ImportError, ValueError) as cause:
        kind = uri.partition("://")[0]
        extra = EXTRAS.get(kind)
        raise UserError(
            f"{uri} cannot be reached: {str(cause).rstrip('.')}.",
            f"Kinds of URI are {', '.join(sorted({*EXTRAS, 'file', 'http', 'https'}))}, and others of fsspec.",
            f"Install what reads it: pip install 'sensorium[{extra}]'." if extra else "Correct it, or give a path.",
        ) from cause
    except Exception as cause:  # some ask their server, or a library of the system, at once
        raise fault(uri, cause, "reached") from cause


def make_folder(files: Any, path: str) -> None:
    """Makes a folder, with those above it, where there is none.

    Where files lie in buckets there are no folders, and what would come into being is a bucket whose name is mistyped.
    """
    if not in_buckets(files):
        files.makedirs(path, exist_ok=True)


def in_buckets(files: Any) -> bool:
    """Returns whether a file system keeps files in buckets: a folder is nothing but the beginning of their names."""
    kinds = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
    return bool(kinds & set(EXTRAS))


def check(uri: str, what: str) -> None:
    """Refuses storage that other processes cannot read.

    Args:
        uri: Path or URI.
        what: Where it was given, such as `run.storage`.

    Raises:
        UserError: It is the memory of this process, nothing reads it, or it is a URI that lacks a slash.
    """
    kind, _, rest = uri.partition(":")
    if "://" not in uri and kind in {*EXTRAS, "file", "http", "https", "memory"}:
        raise UserError(
            f"{what} is {uri}, a path that begins with a folder named {kind}:.",
            "A URI has two slashes.",
            f"Did you mean {f'{kind}:///' if kind == 'file' else f'{kind}://'}{rest.lstrip('/')}?",
        )
    if uri.partition("://")[0] == "memory":
        raise UserError(
            f"{what} is {uri}, the memory of one process.",
            "What is stored there is gone when the command ends, before the next one can use it.",
            "Give a folder, or a URI such as s3://bucket/runs.",
        )
    files, root = files_at(uri)
    if not is_remote(uri):
        return
    failures: list[Exception] = []

    def look() -> None:
        try:
            _list(files, root)
        except Exception as cause:  # noqa: BLE001 (told below)
            failures.append(cause)

    looking = threading.Thread(target=look, daemon=True)  # a server may keep silent for longer than anybody waits
    looking.start()
    looking.join(AT_ONCE)
    if looking.is_alive():
        failures.append(TimeoutError(f"no answer within {AT_ONCE:.0f} s"))
    if failures:
        raise fault(uri, failures[0], "reached") from failures[0]


def _list(files: Any, root: str) -> None:
    """Lists a folder, which need not be there, without trying again where that can be said."""
    if "s3" in files.protocol:
        options = {**files.storage_options, "config_kwargs": {"retries": {"total_max_attempts": 1}}}
        files = type(files)(*files.storage_args, **options, skip_instance_cache=True)
    files.invalidate_cache(root)
    try:
        files.ls(root, detail=False)
    except FileNotFoundError as cause:
        if "bucket does not exist" in str(cause):
            raise


def is_remote(uri: str) -> bool:
    """Returns whether a path or URI leads to a server."""
    return "://" in uri and uri.partition("://")[0] not in ("file", "local", "memory")


def persistent(call: Callable[[], Value], seconds: float = PATIENCE) -> Value:
    """Returns what a call returns, made again while the server that it needs is away, for so many seconds."""
    until, pause = time.monotonic() + seconds, 0.25
    while True:
        try:
            return call()
        except Exception as cause:
            if time.monotonic() > until or not is_away(cause):
                raise
        time.sleep(pause)
        pause = min(2 * pause, 5.0)


def awaited(what: str, call: Callable[[], Value], seconds: float = PATIENCE) -> Value:
    """Returns what reading something returns, once the server that it lies on is there.

    Args:
        what: What is read, for a message.
        call: Reads it.
        seconds: For how long the server is waited for.

    Raises:
        SensoriumError: It stays away.
    """
    try:
        return persistent(call, seconds)
    except Exception as cause:
        told_so = isinstance(cause, SensoriumError) and not isinstance(cause, MediaError)
        if told_so or not is_away(cause):
            raise
        raise SensoriumError(
            f"The server that {what} is read from cannot be reached: {str(cause).rstrip('.')}.",
            f"It was waited for, {seconds:.0f} s.",
            "Correct its address, or go on when it is back.",
        ) from cause


@contextmanager
def told(uri: str, verb: str) -> Iterator[None]:
    """Says of storage that cannot be used what is at fault; that a file is there or not, whoever asked says.

    Raises:
        UserError: As `fault` returns it.
    """
    try:
        yield
    except (SensoriumError, FileNotFoundError, FileExistsError, NotADirectoryError):
        raise
    except Exception as cause:
        raise fault(uri, cause, verb) from cause


def is_away(cause: BaseException) -> bool:
    """Returns whether a server could not be reached, by what was raised, or by what that came of."""
    return any(
        isinstance(each, (ConnectionError, TimeoutError)) or _AWAY.search(_name(each)) for each in _causes(cause)
    )


def fault(uri: str, cause: BaseException, verb: str = "written") -> UserError:
    """Returns the error for storage that cannot be used: the server, the credentials, or the name is at fault.

    Args:
        uri: Its path or URI.
        cause: What its file system raised.
        verb: What cannot be done to it: `written`, `read` or `reached`.
    """
    said = f"{' '.join(str(cause).split()).rstrip('.') or type(cause).__name__:.300}"
    if is_remote(uri) and is_away(cause):
        return UserError(
            f"The server of {uri} cannot be reached: {said}.",
            "It is down, or the network between is.",
            "Try again later, or check the address of the server.",
        )
    if is_remote(uri) and any(isinstance(e, PermissionError) or _REFUSED.search(_name(e)) for e in _causes(cause)):
        return UserError(
            f"The credentials for {uri} are refused: {said}.",
            "Credentials that may list, read and write there were expected.",
            "Check which ones this machine uses, and what they may do.",
        )
    if is_remote(uri):
        hint = "Check the bucket's name, your credentials, and whether they may write."
    else:
        hint = "Set run.storage to a folder that can." if verb == "written" else "Check the path, and who may read it."
    return UserError(f"The storage {uri} cannot be {verb}: {said}.", hint=hint)


def _causes(cause: BaseException | None) -> Iterator[BaseException]:
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def _name(cause: BaseException) -> str:
    return " ".join(kind.__name__ for kind in type(cause).__mro__)
