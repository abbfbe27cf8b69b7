"""What a training or an evaluation ends with: a table of its metrics, and what can be done next."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence

from sensorium.contracts.metric import less_is_better

CONTRIBUTION = "contribution."
"""How names begin that say by how much a metric falls without an input."""


def table(metrics: Mapping[str, float]) -> list[str]:
    """Returns the lines of a table: each metric, its value, and its value without each input; ↓ marks those to lower.

    Args:
        metrics: As an evaluation names them; `contribution.<input>.<metric>` is by how much a metric is better with an
            input's own values than with those of other samples.
    """
    values = {name: value for name, value in metrics.items() if not name.startswith(CONTRIBUTION)}
    without: dict[str, dict[str, float]] = {}
    for name, value in metrics.items():
        metric = _metric_of(name, values)
        if metric is not None:
            field = name.removeprefix(CONTRIBUTION).removesuffix(f".{metric}")
            without.setdefault(field, {})[metric] = values[metric] - value
    rows = [["metric", "value", *(f"without {field}" for field in without)]]
    for name, value in values.items():
        cells = [f"{found[name]:.4f}" if name in found else "" for found in without.values()]
        rows.append([name, f"{value:.4f}", *cells])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)]
        mark = "↓" if row is not rows[0] and less_is_better(row[0]) else " "
        lines.append("  ".join([f"{mark} {row[0].ljust(widths[0])}", *cells]).rstrip())
    return [*lines, "↓ lower is better"] if any(map(less_is_better, values)) else lines


def next_steps(model: str, inputs: Sequence[str], optional: frozenset[str], registered: str, advice: str) -> list[str]:
    """Returns the commands that ask and serve a model.

    Args:
        model: Its folder.
        inputs: Names of what it takes.
        optional: Those that it can do without.
        registered: Its URI in the registry; empty if it is not registered.
        advice: What has to be said for its own plugins to be loaded, such as `--plugins mine`.
    """
    named = shlex.quote(registered or model)
    needed = [name for name in inputs if name not in optional] or list(inputs[:1])
    asked = " ".join(f"{shlex.quote(name)}=…" for name in needed)
    return [
        f"predict  sensorium predict {named} {asked}{advice}",
        f"serve    sensorium serve {named}{advice}",
    ]


def _metric_of(name: str, values: Mapping[str, float]) -> str | None:
    """Returns the metric that a contribution is to, whose name is the longest that fits; None if it is none."""
    if not name.startswith(CONTRIBUTION):
        return None
    fitting = [metric for metric in values if name.endswith(f".{metric}")]
    return max(fitting, key=len, default=None)
