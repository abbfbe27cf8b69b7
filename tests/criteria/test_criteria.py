"""Every plugin reaches what its `criteria.yaml` asks, with the seeds that it names; what it reached is written down.

The variable SEEDS takes so many of the seeds, the first ones.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace

import pytest
from goals import Training, keep, missed, plugins, results, trainings
from measuring import measure
from tables import write

import needs

pytestmark = [pytest.mark.criteria, pytest.mark.timeout(6 * 3600)]


@pytest.mark.parametrize(
    "training",
    [pytest.param(each, id=f"{plugin}: {title}") for plugin in plugins() for title, each in trainings(plugin).items()],
)
def test_it_reaches(training: Training) -> None:
    if re.search(r"\bdata/|/experiments/", training.train):
        needs.data()
    seeds = training.seeds[: int(os.environ.get("SEEDS") or len(training.seeds))]
    keep(training.plugin, training.title, measure(replace(training, seeds=seeds)))
    write(training.plugin)
    found = results(training.plugin)
    wanted = trainings(training.plugin)
    concerned = [each for each in wanted.values() if training.title in _compared(each) and each.title in found]
    wrong = [
        f"{each.title}: {line}" for each in concerned if _compared(each) <= set(found) for line in missed(each, found)
    ]
    assert not wrong


def _compared(training: Training) -> set[str]:
    titles = {goal.over for goal in training.reach.values()} & set(trainings(training.plugin))
    return {training.title, *titles}
