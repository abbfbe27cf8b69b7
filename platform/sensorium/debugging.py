"""Whether everything is shown, tracebacks and what libraries say of themselves, here and in processes started here."""

from __future__ import annotations

import os

VARIABLE = "SENSORIUM_DEBUG"
"""Environment variable that says so; it travels to workers and jobs."""


def debugging() -> bool:
    """Says whether everything is shown."""
    return os.environ.get(VARIABLE, "0") not in ("", "0")
