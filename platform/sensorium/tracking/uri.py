"""Where runs are recorded. Imports no MLflow: it is asked before every training.

An address may hold a password. It stays in the environment of this process and of those that it starts: what is
written, printed and handed on is the address without it, and whoever asks MLflow puts it back.
"""

from __future__ import annotations

import os
from pathlib import Path

from sensorium.errors import UserError
from sensorium.paths import expanded
from sensorium.redaction import CONFIDED, HIDDEN, redacted, reveals

VARIABLE = "MLFLOW_TRACKING_URI"
"""The user's variable."""


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
        UserError: MLflow no longer takes such a store, or its password is not known; says which forms there are.
    """
    if whole(uri).split(":", 1)[0] not in ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks"):
        raise UserError(
            f"MLflow cannot record at {uri!r}.",
            "A store is sqlite:///file.db, another database, or a server's http(s) address.",
            f"Set tracking.uri or {VARIABLE}.",
        )
    return expanded(uri)


def _given(name: str) -> str:
    return expanded(os.environ.get(name, ""))
