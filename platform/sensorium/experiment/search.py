"""What a search tries: the section `search` of an experiment, and values drawn from its space."""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from sensorium.contracts.component import Config
from sensorium.errors import unknown

KINDS = ("choice", "integer", "log_uniform", "uniform")
DIGITS = 6
"""Significant digits of a number that is drawn: files and tables stay legible."""
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass(frozen=True)
class Distribution:
    """Where the values of one option come from.

    Attributes:
        kind: `uniform` and `log_uniform` between two numbers, `integer` between two whole ones, both
            included, or `choice` among some values.
        values: The two bounds, or the choices.
    """

    kind: str
    values: tuple[Any, ...]

    def draw(self, source: random.Random) -> Any:
        """Returns a value."""
        if self.kind == "choice":
            return source.choice(self.values)
        low, high = self.values
        if self.kind == "integer":
            return source.randint(low, high)
        if self.kind == "uniform":
            return self.within(source.uniform(low, high))
        return self.within(math.exp(source.uniform(math.log(low), math.log(high))))

    def within(self, value: Any) -> Any:
        """Returns the value nearest to a given one that the distribution can give."""
        if self.kind == "choice":
            return value if value in self.values else self.values[0]
        low, high = self.values
        if self.kind == "integer":
            return int(min(max(round(value), low), high))
        return float(min(max(float(f"{value:.{DIGITS}g}"), low), high))


class Search(Config):
    """What `sensorium tune` tries, and how it chooses."""

    space: dict[str, dict[str, list[Any]]] = field(default_factory=dict)
    """Option, as `key.path` of the experiment -> where its values come from: `{uniform: [a, b]}`,
    `{log_uniform: [a, b]}`, `{integer: [a, b]}` with both ends, or `{choice: [...]}`."""
    metric: str | None = None
    """Metric, of the validation split, by which trials are compared."""
    mode: Literal["max", "min"] = "max"
    """Whether larger or smaller is better."""
    method: Literal["random", "asha", "optuna", "pbt"] = "random"
    """How trials are chosen: at random; at random with the worse two thirds stopped early, again and
    again (ASHA, Li et al. 2020); by what earlier trials showed (Optuna's TPE); or a population that
    trains together and of which the worst go on from copies of the best (PBT, Jaderberg et al. 2017)."""
    trials: int = 10
    """Number of trials."""
    concurrent: int | None = None
    """Trials at a time at most; None takes as many as the cluster has room for."""
    time_budget: str | None = None
    """Longest time for the whole search, such as 90s, 30m or 2h; None for no end."""
    interval: int = 1
    """Epochs before ASHA may stop a trial, and between two exchanges of a population."""

    def __post_init__(self) -> None:
        if self.trials < 1 or self.interval < 1 or (self.concurrent is not None and self.concurrent < 1):
            raise ValueError("trials, concurrent and interval must be at least 1")
        if self.time_budget is not None:
            seconds(self.time_budget)
        self.distributions()

    def distributions(self) -> dict[str, Distribution]:
        """Returns option -> its distribution, in the order of the names.

        Raises:
            UserError: There is no such distribution.
            ValueError: Its bounds are not two numbers in order, or there is no choice.
        """
        return {key: _distribution(key, self.space[key]) for key in sorted(self.space)}

    def draw(self, seed: int, number: int) -> dict[str, Any]:
        """Returns option -> value of a trial; the same ones for the same seed and number."""
        source = random.Random(f"{seed}/{number}")
        return {key: distribution.draw(source) for key, distribution in self.distributions().items()}

    def best(self, values: Mapping[int, float]) -> int | None:
        """Returns the key of the best value; what is not a number never is. None if there is none."""
        real = {key: value for key, value in values.items() if not math.isnan(value)}
        choose = max if self.mode == "max" else min
        return choose(real, key=lambda key: real[key]) if real else None


def seconds(text: str) -> float:
    """Returns the seconds of a time such as 90s, 30m, 2h or 1d.

    Raises:
        ValueError: It is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text)
    if not found or float(found[1]) == 0:
        raise ValueError(f"time_budget is {text!r}; times are written 90s, 30m, 2h or 1d")
    return float(found[1]) * _SECONDS[found[2]]


def _distribution(key: str, written: Mapping[str, list[Any]]) -> Distribution:
    if len(written) != 1:
        raise ValueError(f"the space of {key} must be one of {', '.join(KINDS)}, not {len(written)} of them")
    ((kind, values),) = written.items()
    if kind not in KINDS:
        raise unknown("distribution", kind, KINDS, f"search.space.{key}")
    if kind == "choice":
        if not values:
            raise ValueError(f"the space of {key} has nothing to choose from")
        return Distribution(kind, tuple(values))
    number = (int,) if kind == "integer" else (int, float)
    if len(values) != 2 or not all(isinstance(end, number) and not isinstance(end, bool) for end in values):
        what = "whole numbers" if kind == "integer" else "numbers"
        raise ValueError(f"the space of {key} is {kind}: {values}; it takes two {what}")
    low, high = values
    if not low < high or (kind == "log_uniform" and low <= 0):
        above = ", both above 0" if kind == "log_uniform" else ""
        raise ValueError(f"the space of {key} is {kind}: {values}; the lower end comes first{above}")
    return Distribution(kind, tuple(values) if kind == "integer" else (float(low), float(high)))
