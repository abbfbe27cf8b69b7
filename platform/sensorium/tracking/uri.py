"""Where runs are recorded. Imports no MLflow: it is asked before every training.

An address may hold a password. It stays in the environment of this process and of those that it starts: what is
written, printed and handed on is the address without it, and whoever asks MLflow puts it back.
"""

from __future__ import annotations

import os
from base64 import b64encode
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import Request, urlopen

from sensorium.errors import UserError
from sensorium.paths import expanded
from sensorium.redaction import CONFIDED, HIDDEN, redacted, reveals

VARIABLE = "MLFLOW_TRACKING_URI"
"""The user's variable."""
SECONDS = 5.0
"""Time in which a server says whether it lets somebody in."""


def default_uri() -> str:
    """Returns the address in MLFLOW_TRACKING_URI without its password, or a SQLite store in the working folder."""
    return redacted(_given(VARIABLE) or f"sqlite:///{Path.cwd() / 'mlflow.db'}")


def secrets() -> dict[str, str]:
    """Returns the variables that hold an address with a password."""
    return {name: os.environ[name] for name in (VARIABLE, CONFIDED) if reveals(_given(name))}


def whole(uri: str) -> str:
    """Returns an address as MLflow takes it: with the password, if one was hidden.

    Raises:
        UserError: It is not known here.
    """
    if HIDDEN not in uri:
        return uri
    for name in (CONFIDED, VARIABLE):
        if redacted(_given(name)) == uri:
            return _given(name)
    raise UserError(
        f"The password of the MLflow store {uri} is not known here.",
        "It is written down nowhere.",
        f"Set {VARIABLE} to the whole address, as when the run was begun.",
    )


def check_uri(uri: str) -> str:
    """Returns the address of a store, with `~` expanded, before anything is trained.

    Args:
        uri: As an experiment, a record or `default_uri` gives it, without a password.

    Raises:
        UserError: MLflow no longer takes such a store, its password is not known, or the server refuses it.
    """
    kind, _, place = whole(uri).partition("://")
    kinds = ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks")
    if kind not in kinds or (kind != "databricks" and not place.strip("/")):
        raise UserError(
            f"MLflow cannot record at {uri!r}.",
            "A store is sqlite:///file.db, another database, or a server's http(s) address.",
            f"Set tracking.uri or {VARIABLE}.",
        )
    if _refuses(whole(uri)):
        from sensorium.tracking.records import FAULTS, count_experiments, refused

        try:  # MLflow knows more ways to log in: a file, a token, a plugin
            count_experiments(uri)
        except FAULTS as cause:
            if refused(cause):
                raise refusal(uri) from cause
    return expanded(uri)


def refusal(uri: str) -> UserError:
    """Returns the error for a server that does not let this user in, or not there."""
    return UserError(
        f"The MLflow server at {redacted(uri)} refuses the user or the password, or has granted too little.",
        f"Expected in {VARIABLE}: http://USER:PASSWORD@SERVER, what is special in it percent-encoded.",
        f"Correct {VARIABLE}, or ask whoever runs the server.",
    )


def _refuses(address: str) -> bool:
    """Returns whether a server wants another login; one that is away is waited for by those that write."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https"):
        return False
    server = parts.netloc.rpartition("@")[2]
    place = f"{parts.scheme}://{server}{parts.path.rstrip('/')}"
    request = Request(f"{place}/api/2.0/mlflow/experiments/search?max_results=1")
    user = unquote(parts.username) if parts.username else os.environ.get("MLFLOW_TRACKING_USERNAME", "")
    password = unquote(parts.password) if parts.password else os.environ.get("MLFLOW_TRACKING_PASSWORD", "")
    if user:
        request.add_header("Authorization", f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}")
    try:
        with urlopen(request, timeout=SECONDS):
            return False
    except HTTPError as cause:
        return cause.code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    except (OSError, ValueError, HTTPException):
        return False


def _given(name: str) -> str:
    return expanded(os.environ.get(name, ""))
