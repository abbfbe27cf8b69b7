"""Balanced accuracy: rare classes count as much as frequent ones.

Shapes: N samples of a split, C classes.
"""

from sensorium import Metric, Rows, UserError, hookimpl


class ExampleName(Metric):
    """Share of each class's samples whose right class scores highest, the mean over the classes."""

    needs = ("logits", "target")

    class Config(Metric.Config):
        """Which classes count."""

        least: int = 1
        """Samples that a class needs to count."""

    config: Config

    def __call__(self, rows: Rows) -> dict[str, float]:
        """Returns `{name}_example_name` (fraction of 1), for logits (N, C) and targets (N,)."""
        names = [name.removeprefix("logits.") for name in rows if name.startswith("logits.")]
        if not names:
            raise UserError("There are no rows `logits.<name>`.", f"The task gives {', '.join(sorted(rows))}.")
        metrics = {}
        for name in names:
            target, said = rows[f"target.{name}"], rows[f"logits.{name}"].argmax(1)
            right = [(said[target == c] == c) for c in target.unique().tolist()]
            shares = [each.double().mean().item() for each in right if len(each) >= self.config.least]
            if shares:
                metrics[f"{name}_example_name"] = sum(shares) / len(shares)
        return metrics


@hookimpl
def sensorium_metrics() -> dict[str, type[Metric]]:
    """Registers the metric."""
    return {"example_name": ExampleName}
