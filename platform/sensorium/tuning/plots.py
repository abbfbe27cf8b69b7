"""Pictures of a search: its trials over time, and each parameter against the result."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from sensorium.experiment.search import Search
from sensorium.ops.plots import figure, png
from sensorium.tuning.trials import Trial

COLOURS = {"finished": "tab:blue", "stopped": "tab:orange", "failed": "tab:red", "running": "tab:gray"}
WIDTH = 4
"""Parameters in a row."""


def over_time(trials: Sequence[Trial], search: Search) -> bytes:
    """Returns a PNG of what each trial had reached when, and of the best until then."""
    drawing = figure(7, 4)
    axes = drawing.add_subplot()
    points = []
    for trial in trials:
        when, values = [point[0] for point in trial.history], [point[2] for point in trial.history]
        axes.plot(when, values, marker="o", markersize=3, linewidth=1, color=COLOURS.get(trial.status, "tab:gray"))
        points += [(moment, value) for moment, value in zip(when, values, strict=True) if not math.isnan(value)]
    points.sort()
    choose = max if search.mode == "max" else min
    best = [choose(value for _, value in points[: end + 1]) for end in range(len(points))]
    axes.step([moment for moment, _ in points], best, where="post", color="black", linewidth=2)
    axes.set_xlabel("seconds since the search began")
    axes.set_ylabel(str(search.metric), parse_math=False)
    for status, colour in COLOURS.items():
        if any(trial.status == status for trial in trials):
            axes.plot([], [], color=colour, label=status)
    axes.plot([], [], color="black", linewidth=2, label="best so far")
    axes.legend()
    return png(drawing)


def by_parameter(trials: Sequence[Trial], search: Search) -> bytes:
    """Returns a PNG with a panel for each parameter: its value in each trial against the trial's result."""
    distributions = search.distributions()
    columns = min(WIDTH, len(distributions))
    rows = math.ceil(len(distributions) / columns)
    drawing = figure(3.2 * columns, 3 * rows)
    for place, (key, distribution) in enumerate(distributions.items()):
        axes = drawing.add_subplot(rows, columns, place + 1)
        for trial in trials:
            if trial.value is not None and not math.isnan(trial.value):
                x: Any = trial.parameters[key]
                x = str(x) if distribution.kind == "choice" else x
                axes.scatter([x], [trial.value], s=16, color=COLOURS.get(trial.status, "tab:gray"))
        if distribution.kind == "log_uniform":
            axes.set_xscale("log")
        axes.set_xlabel(key, parse_math=False)
        axes.set_ylabel(str(search.metric), parse_math=False)
    return png(drawing)
