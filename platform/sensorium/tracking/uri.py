"""Where runs are recorded. Imports no MLflow: it is asked before every training."""

from __future__ import annotations

import os
from pathlib import Path

from sensorium.errors import UserError
from sensorium.paths import expanded
from sensorium.secrets import check_address


def default_uri() -> str:
    """Returns MLFLOW_TRACKING_URI, or a SQLite store in the working folder.

    Raises:
        UserError: It holds a password.
    """
    uri = expanded(os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{Path.cwd() / 'mlflow.db'}")
    check_address(uri, "The address in MLFLOW_TRACKING_URI")
    return uri


def check_uri(uri: str) -> str:
    """Returns the address of a store, with `~` expanded, before anything is trained.

    Stores that MLflow no longer takes, and passwords in addresses, are refused.

    Raises:
        UserError: Says which forms there are.
    """
    check_address(uri, "The address of the MLflow store")
    if uri.split(":", 1)[0] not in ("sqlite", "postgresql", "mysql", "mssql", "http", "https", "databricks"):
        raise UserError(
            f"MLflow cannot record at {uri!r}.",
            "A store is sqlite:///file.db, another database, or a server's http(s) address.",
            "Set tracking.uri or MLFLOW_TRACKING_URI.",
        )
    return expanded(uri)
