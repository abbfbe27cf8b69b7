"""Storage by path or URI: what reads it, and what does not come into being by a mistake."""

from __future__ import annotations

from typing import Any

from sensorium.errors import UserError

EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), "s3"),
    **dict.fromkeys(("gs", "gcs"), "gcs"),
    **dict.fromkeys(("abfs", "abfss", "az", "adl"), "azure"),
}
"""Kind of URI -> extra of Sensorium that installs what reads it. All of these keep files in buckets, not in folders."""


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


def make_folder(files: Any, path: str) -> None:
    """Makes a folder, with those above it, where there is none.

    Where files lie in buckets there are no folders, and what would come into being is a bucket whose name is mistyped.
    """
    kinds = {files.protocol} if isinstance(files.protocol, str) else set(files.protocol)
    if not kinds & set(EXTRAS):
        files.makedirs(path, exist_ok=True)


def check(uri: str, what: str) -> None:
    """Refuses storage that other processes cannot read.

    Args:
        uri: Path or URI.
        what: Where it was given, such as `run.storage`.

    Raises:
        UserError: It is the memory of this process, or nothing reads it.
    """
    if uri.partition("://")[0] == "memory":
        raise UserError(
            f"{what} is {uri}, the memory of one process.",
            "What is stored there is gone when the command ends, before the next one can use it.",
            "Give a folder, or a URI such as s3://bucket/runs.",
        )
    files_at(uri)
