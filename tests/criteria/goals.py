"""What each plugin has to reach: its `criteria.yaml`, read; and what it reached: its `results.json`.

A title names a training, as one would type it, and what its metrics have to be:

    product:
      before: [clip tracking.register=eyes]  # trainings that it needs, in order; none
      train: vqa                             # what follows `sensorium train`
      seeds: [0, 1, 2]                       # [0] where it is not given
      folds: [dataset.test_folds=[1]]        # overrides, each of them for a training of its own; none
      shuffled: [caption]                    # fields that are dealt out to other training samples; none
      reach:
        answer_accuracy: {least: 0.85, over: image_blind_accuracy, lead: 0.5}

`least` and `most` bound a metric's mean over the folds and seeds. `over` is what does without the idea: another metric
of the training, or another training by its title, of which it is the same metric; `lead` bounds the difference.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, stdev
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Goal:
    """What a metric has to be, as the module's docstring says."""

    least: float | None = None
    most: float | None = None
    over: str = ""
    lead: float | None = None

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return -1 if self.most is not None else 1


@dataclass(frozen=True)
class Training:
    """A training of a plugin's criteria."""

    plugin: str
    title: str
    train: str
    reach: dict[str, Goal]
    seeds: tuple[int, ...] = (0,)
    folds: tuple[str, ...] = ("",)
    shuffled: tuple[str, ...] = ()
    before: tuple[str, ...] = ()

    def metrics(self, others: Mapping[str, Training]) -> set[str]:
        """Returns the names of the metrics that are kept: those with goals, and those that goals compare with."""
        own = {*self.reach, *(goal.over for goal in self.reach.values() if goal.over and goal.over not in others)}
        asked = {n for other in others.values() for n, goal in other.reach.items() if goal.over == self.title}
        return own | asked


@dataclass(frozen=True)
class Result:
    """What a training reached.

    Attributes:
        metrics: Name -> value for each seed, fold by fold.
        seeds: Those of the training.
        seconds: Processor time of each, whatever else the machine did.
        code: Hash of the code that ran.
        settings: Hash of the experiment, without defaults.
        short: Hash of the numbers of a short training by that code.
    """

    metrics: dict[str, list[float]]
    seeds: list[int]
    seconds: list[int]
    code: str
    settings: str
    short: str

    def mean(self, name: str) -> float:
        """Returns the mean of a metric over folds and seeds."""
        return mean(self.metrics[name])

    def error(self, name: str) -> float | None:
        """Returns the standard error of the mean over the folds, each the mean over its seeds; None without folds."""
        folds = self.folds(self.metrics[name])
        return _error(folds) if len(folds) > 1 else None

    def folds(self, values: list[float]) -> list[float]:
        """Returns the mean over the seeds of each fold."""
        each = len(self.seeds)
        return [mean(values[start : start + each]) for start in range(0, len(values), each)]


def plugins() -> list[str]:
    """Returns the names of the plugins that have criteria."""
    return [path.parent.name for path in sorted(ROOT.glob("plugins/*/criteria.yaml"))]


def trainings(plugin: str) -> dict[str, Training]:
    """Returns title -> training of a plugin."""
    text = (ROOT / "plugins" / plugin / "criteria.yaml").read_text(encoding="utf-8")
    return {title: _training(plugin, title, **entry) for title, entry in yaml.safe_load(text).items()}


def results(plugin: str) -> dict[str, Result]:
    """Returns title -> what was reached, of what has been measured."""
    path = _results(plugin)
    return {title: Result(**each) for title, each in json.loads(path.read_text()).items()} if path.exists() else {}


def keep(plugin: str, title: str, result: Result) -> None:
    """Writes what a training reached beside its plugin, in the order of the criteria."""
    found = {**results(plugin), title: result}
    lines = {each: vars(found[each]) for each in trainings(plugin) if each in found}
    _results(plugin).write_text(json.dumps(lines, indent=1) + "\n", encoding="utf-8")


def missed(training: Training, found: Mapping[str, Result]) -> Iterator[str]:
    """Yields a sentence for each goal that a measured training misses.

    Args:
        training: What was measured.
        found: Title -> result, its own and that of those with which it is compared.
    """
    own = found[training.title]
    for name, goal in training.reach.items():
        value = own.mean(name)
        if goal.least is not None and not value >= goal.least:
            yield f"{name} is {value:.4g}, and {goal.least} at least is expected"
        if goal.most is not None and not value <= goal.most:
            yield f"{name} is {value:.4g}, and {goal.most} at most is expected"
        if goal.lead is not None and not (ahead := lead(training, name, found)) >= goal.lead:
            yield f"{name} is {ahead:.4g} better than {goal.over}, and {goal.lead} at least is expected"


def without(training: Training, name: str, found: Mapping[str, Result]) -> float:
    """Returns the value of what a metric is compared with."""
    over = training.reach[name].over
    return found[over].mean(name) if over in found else found[training.title].mean(over)


def lead(training: Training, name: str, found: Mapping[str, Result]) -> float:
    """Returns by how much a metric is better than what it is compared with."""
    return training.reach[name].sign * (found[training.title].mean(name) - without(training, name, found))


def lead_error(training: Training, name: str, found: Mapping[str, Result]) -> float | None:
    """Returns the standard error of a lead over the folds, or the seeds; None where both do not have several."""
    over, own = training.reach[name].over, found[training.title]
    other, metric = (found[over], name) if over in found else (own, over)
    values, others = own.metrics[name], other.metrics[metric]
    if other.seeds != own.seeds or len(others) != len(values) or len(values) < 2:
        return None
    ahead = [one - another for one, another in zip(values, others, strict=True)]
    folds = own.folds(ahead)
    return _error(folds if len(folds) > 1 else ahead)


def _error(values: list[float]) -> float:
    return stdev(values) / len(values) ** 0.5


def _training(plugin: str, title: str, train: str, reach: dict[str, Any], **more: Any) -> Training:
    goals = {name: Goal(**goal) for name, goal in reach.items()}
    return Training(plugin, title, train, goals, **{name: tuple(value) for name, value in more.items()})


def _results(plugin: str) -> Path:
    return ROOT / "plugins" / plugin / "results.json"
