"""Libraries of the extras, which are imported when somebody needs them."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from sensorium import UserError


def installed(name: str, extra: str) -> Any:
    """Returns a library.

    Args:
        name: The module.
        extra: The extra of Sensorium that installs it.

    Raises:
        UserError: It is not installed.
    """
    try:
        return import_module(name)
    except ImportError as cause:
        raise UserError(f"{name} is not installed.", "", f"pip install 'sensorium[{extra}]'.") from cause
