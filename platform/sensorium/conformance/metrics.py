"""Checks of a metric: metrics by name, the same whatever the order of the rows.

Shapes: N samples, C classes, D channels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sensorium.conformance.finding import ContractError, InapplicableError
from sensorium.conformance.options import probed
from sensorium.contracts.metric import Metric
from sensorium.plugins import Plugins

COUNT, CLASSES, CHANNELS = 24, 4, 8
"""N, C and D of the made-up rows."""
TOLERANCE = 1e-6
"""Largest difference of a metric between two orders of the rows, relative to it."""


class Subject:
    """A metric with made-up rows."""

    def __init__(self, component: type[Metric], plugins: Plugins) -> None:
        self.metric: Metric = probed(component, plugins).build()
        rows = _rows()
        strange = sorted(
            {need.partition(".")[0] for need in self.metric.needs} - {name.partition(".")[0] for name in rows}
        )
        if strange or not self.metric.needs:
            text = f"It reads {', '.join(strange) or 'what `needs` does not say'}"
            raise InapplicableError(f"{text}, which is a task's own; its metrics are checked there.")
        self.rows = rows


def gives_metrics(subject: Subject) -> str:
    """Checks that it returns numbers by name."""
    metrics = subject.metric(subject.rows)
    wrong = [name for name, value in metrics.items() if not isinstance(value, (int, float))]
    if wrong or not metrics:
        raise ContractError(f"Not a number: {', '.join(wrong)}." if wrong else "It gives no metric.")
    return ", ".join(f"{name} {value:.3f}" for name, value in metrics.items())


def heeds_no_order(subject: Subject) -> str:
    """Checks that rows in another order give the same metrics: workers gather them in any."""
    order = list(reversed(range(COUNT)))
    turned = {name: _ordered(value, order) for name, value in subject.rows.items()}
    before, after = subject.metric(subject.rows), subject.metric(turned)
    far = [name for name in before if not math.isclose(before[name], after.get(name, math.nan), rel_tol=TOLERANCE)]
    if far:
        raise ContractError(f"In another order of the rows there is another {', '.join(far)}.")
    return f"{COUNT} rows in another order"


def _ordered(value: Any, order: list[int]) -> Any:
    return value[order] if isinstance(value, Tensor) else [value[place] for place in order]


def _rows() -> dict[str, Any]:
    random = torch.Generator().manual_seed(1)
    rows: dict[str, Any] = {
        "id": [str(number) for number in range(COUNT)],
        "logits.label": torch.randn(COUNT, CLASSES, generator=random),
        "target.label": torch.randint(CLASSES, (COUNT,), generator=random),
        "scores.tags": torch.randn(COUNT, CLASSES, generator=random),
        "truth.tags": torch.randint(2, (COUNT, CLASSES), generator=random).float(),
        "group": torch.arange(COUNT),
    }
    for field in ("image", "text"):
        rows[f"embedding.{field}"] = F.normalize(torch.randn(COUNT, CHANNELS, generator=random), dim=-1)
        rows[f"key.{field}"] = [f"{field} {number}" for number in range(COUNT)]
    return rows


CHECKS = {"metrics": gives_metrics, "order of rows": heeds_no_order}
