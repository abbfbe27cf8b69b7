"""A judge: a task that says what was made shows, whose answers are counted.

Shapes: B samples.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from sensorium import Batch, Rows, Task


def judged(judge: Task, batch: Batch, field: str, made: Tensor, kind: str) -> Rows:
    """Returns whether a judge finds in what was made what the samples say.

    Args:
        judge: A task that classifies: its rows hold `logits.<name>` and `target.<name>`.
        batch: The samples.
        field: The field that the judge looks at.
        made: What takes its place, (B, ...).
        kind: What the rows are called after.

    Returns:
        `{kind}.<name>` (B,) for each class that it names, and `{kind}.all`.
    """
    seen = replace(batch, fields={**batch.fields, field: made})
    rows = judge.rows(judge(seen), seen)
    names = [name.removeprefix("logits.") for name in rows if name.startswith("logits.")]
    right = {name: rows[f"logits.{name}"].argmax(1) == rows[f"target.{name}"] for name in names}
    return {f"{kind}.{name}": found for name, found in right.items()} | {
        f"{kind}.all": torch.stack(list(right.values())).all(0)
    }


def shares(rows: Rows, *kinds: str) -> dict[str, float]:
    """Returns `{kind}_<name>`, the mean of each row of these kinds."""
    chosen = {name: values for name, values in rows.items() if name.partition(".")[0] in kinds and "." in name}
    return {name.replace(".", "_"): float(values.double().mean()) for name, values in chosen.items()}


def verdict(rows: Rows, kind: str = "judge") -> str:
    """Returns what the judge finds in the first sample, such as `digit right, colour wrong`; empty without one."""
    found = {name: values[0] for name, values in rows.items() if name.startswith(f"{kind}.") and name != f"{kind}.all"}
    return ", ".join(f"{name.partition('.')[2]} {'right' if right else 'wrong'}" for name, right in found.items())
