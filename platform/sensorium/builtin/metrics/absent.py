"""What a metric says to a task that lacks its rows."""

from __future__ import annotations

from sensorium import Rows, UserError


def absent(metric: str, needed: str, rows: Rows) -> UserError:
    """Returns the error that a task does not give the rows that a metric reads."""
    return UserError(
        f"The metric {metric!r} does not find its rows.",
        f"It reads {needed}; the task gives {', '.join(sorted(rows)) or 'nothing'}.",
        "Choose another metric, or another task.",
    )
