"""What every trial of a search needs to know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sensorium.assembly.build import Assembly


@dataclass(frozen=True)
class Plan:
    """A search as its trials see it.

    Attributes:
        name: Name of the search.
        folder: Its folder or URI; runs lie below it.
        experiment: The experiment as plain data, without a trial's parameters.
        learnt: What the modalities learnt; None where the parameters may change that.
        tracking: What the tracking plugin needs, with the search's record as `parent`.
        metric: Metric that trials are judged by.
        population: Whether trials go on from copies of others.
        place: Working folder of the command.
        variables: Environment variables that travel.
    """

    name: str
    folder: str
    experiment: Mapping[str, Any]
    learnt: Mapping[str, Any] | None
    tracking: Mapping[str, Any]
    metric: str
    population: bool
    place: str
    variables: Mapping[str, str] = field(default_factory=dict)


def epochs(assembly: Assembly) -> int:
    """Returns the epochs of all stages of a training."""
    training = assembly.loaded.experiment.training
    return sum(training.plan(stage.name).epochs for stage in assembly.task.stages())
