"""A model made ready to answer: loaded within limits, asked once, its batches measured."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sensorium.errors import SensoriumError, UserError
from sensorium.inference.exact import TRIALS, Exact
from sensorium.inference.index import fingerprint
from sensorium.inference.predictor import Predictor, Prepared
from sensorium.serving.batching import Batcher
from sensorium.serving.description import Description, describe, probe
from sensorium.serving.refusal import Refusal
from sensorium.serving.service import Answer
from sensorium.serving.settings import Limits

REPEAT = 3
"""Times that each size of batch is measured; the fastest counts."""

BUDGET = 3.0
"""Seconds after which no larger batch is measured."""

ENOUGH = 0.9
"""Share of the best rate at which a smaller batch is taken, as its answers come sooner."""


@dataclass(frozen=True)
class Curve:
    """What batches cost.

    Attributes:
        seconds: Size of a batch -> seconds that it takes, for sizes whose digits are those of single answers.
        size: The size that is used.
        wait: Seconds that a batch waits for requests that are being decoded.
    """

    seconds: Mapping[int, float]
    size: int
    wait: float

    def __str__(self) -> str:
        points = ", ".join(f"{size}: {1000 * taken:.1f}" for size, taken in self.seconds.items())
        return f"ms for a batch of {points}; batches of up to {self.size}, waiting {1000 * self.wait:.1f} ms"


def choose(seconds: Mapping[int, float]) -> Curve:
    """Returns the smallest batch whose rate comes near the best, and a wait of half of what a request gains by it."""
    rates = {size: size / taken for size, taken in seconds.items()}
    size = min(size for size, rate in rates.items() if rate >= ENOUGH * max(rates.values()))
    gain = seconds[min(seconds)] - seconds[size] / size
    return Curve(seconds, size, max(0.0, gain / 2) if size > 1 else 0.0)


def measure(exact: Exact, largest: int) -> Curve:
    """Returns the curve of a model for its made-up question, and lets `exact` try those batches."""
    question, _ = probe(exact.predictor)
    prepared = exact.predictor.prepare(question)
    begin, size, seconds = time.perf_counter(), 1, {}
    while size <= largest:
        for _ in range(TRIALS if size > 1 else 1):
            _, sizes = exact([prepared] * size, size)
        _, sizes = exact([prepared] * size, size)
        if sizes[0] == size:
            seconds[size] = min(_timed(exact, [prepared] * size) for _ in range(REPEAT))
        if time.perf_counter() - begin > BUDGET:
            break
        size *= 2
    return choose(seconds)


def _timed(exact: Exact, batch: list[Prepared]) -> float:
    begin = time.perf_counter()
    exact(batch, len(batch))
    return time.perf_counter() - begin


@dataclass(frozen=True)
class Ready:
    """A model that has answered a made-up question.

    Attributes:
        exact: What answers.
        description: What it takes and gives.
        curve: What its batches cost.
    """

    exact: Exact
    description: Description
    curve: Curve


def load(folder: str, version: str, limits: Limits, max_batch: int) -> Ready:
    """Returns the model of a folder, ready.

    Raises:
        SensoriumError: It cannot be loaded, or does not answer.
    """
    predictor = Predictor.load(folder)
    lower(predictor, limits)
    try:
        description = describe(predictor, version)
    except SensoriumError:
        raise
    except Exception as cause:
        raise SensoriumError(
            f"The model {version} does not answer: {type(cause).__name__}: {cause}.",
            "It was asked a question that its modalities made up.",
            "`sensorium predict` asks it too.",
        ) from cause
    description = replace(description, fingerprint=fingerprint(folder))
    exact = Exact(predictor)
    return Ready(exact, description, measure(exact, max_batch))


def lower(predictor: Predictor, limits: Limits) -> None:
    """Lowers the bounds that a model's modalities set on media to those of the server."""
    for modality in {*predictor.model.task.inputs.values()}:
        bounds = {
            name: min(getattr(limits, name), getattr(modality.config, name))
            for name in modality.limits
            if hasattr(limits, name)
        }
        modality.config = replace(modality.config, **bounds)


class Local:
    """A model in this process.

    Args:
        ready: The model.
        lanes: Batches that are computed side by side.
        memory: Bytes that decoded values may hold.
    """

    def __init__(self, ready: Ready, lanes: int = 1, memory: int = Limits().memory) -> None:
        self.ready = ready
        self.batcher = Batcher(ready.exact, ready.curve.size, ready.curve.wait, lanes, memory)

    def use(self, ready: Ready) -> None:
        """Answers with another version from the next request on."""
        self.ready = ready
        self.batcher.use(ready.exact, ready.curve.size, ready.curve.wait)

    async def describe(self) -> Description:
        """Returns what it takes and gives."""
        return self.ready.description

    async def ask(self, example: Mapping[str, Any]) -> Answer:
        """Returns its answer.

        Raises:
            Refusal: The example cannot be read, or makes no sense, or there is no memory for it.
        """
        ready = self.ready
        try:
            outputs, batch = await self.batcher.ask(dict(example))
        except UserError as error:
            raise Refusal(422, error.wrong, error.expected, error.hint) from error
        return Answer(outputs, ready.description.version, batch)
