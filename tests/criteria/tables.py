"""The tables of results in the plugins' READMEs, made from their `results.json`."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import mean

from goals import ROOT, Result, Training, lead, lead_error, results, trainings, without

BEGIN, END = "<!-- results: written by `make criteria` -->\n", "<!-- end of results -->\n"
_HEAD = "| training | metric | reached | without the idea | lead | processor time |\n|---|---|---|---|---|---|\n"


def table(plugin: str) -> str:
    """Returns the table of a plugin: each metric, its range over seeds or error over folds, and its lead."""
    wanted, found = trainings(plugin), results(plugin)
    lines = [line for title, each in wanted.items() if title in found for line in _lines(each, wanted, found)]
    return _HEAD + "".join(lines) if lines else "Not measured yet.\n"


def written(plugin: str) -> str:
    """Returns the README of a plugin with its table as it has to be."""
    text = (ROOT / "plugins" / plugin / "README.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(plugin)}\n{END}{rest.split(END)[1]}"


def write(plugin: str) -> None:
    """Puts the table into the plugin's README."""
    (ROOT / "plugins" / plugin / "README.md").write_text(written(plugin), encoding="utf-8")


def _lines(training: Training, wanted: dict[str, Training], found: dict[str, Result]) -> Iterator[str]:
    own = found[training.title]
    title, time = training.title, _time(mean(own.seconds))
    for name, goal in training.reach.items():
        other = ahead = ""
        if goal.over and (goal.over in found or goal.over not in wanted):
            label = goal.over if goal.over in wanted else f"`{goal.over}`"
            other = f"{_number(without(training, name, found))}, {label}"
            ahead, error = _number(lead(training, name, found)), lead_error(training, name, found)
            ahead += "" if error is None else f" ± {_number(error)}"
        yield f"| {title} | `{name}` | {_value(own, name)} | {other} | {ahead} | {time} |\n"
        title = time = ""


def _value(found: Result, name: str) -> str:
    values, error = found.metrics[name], found.error(name)
    if len(values) == 1:
        return _number(values[0])
    if error is not None:
        return f"{_number(mean(values))} ± {_number(error)} over {len(values) // len(found.seeds)} folds"
    return f"{_number(mean(values))} ({_number(min(values))} to {_number(max(values))})"


def _number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
