"""The models behind an endpoint: who they are, how many requests each has, and how one is asked."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response

from sensorium.errors import unknown
from sensorium.inference.index import Index
from sensorium.serving.answer import respond, wanted
from sensorium.serving.body import Bodies
from sensorium.serving.description import Description
from sensorium.serving.metrics import Metrics
from sensorium.serving.question import check_type, read_question
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits


@dataclass(frozen=True)
class Answer:
    """What a model said.

    Attributes:
        outputs: Name -> encoded output.
        version: Which model said it.
        batch: Number of requests that were computed together.
    """

    outputs: Mapping[str, Any]
    version: str
    batch: int


class Backend(Protocol):
    """A model, wherever it runs."""

    async def describe(self) -> Description:
        """Returns what it takes and gives."""
        ...

    async def ask(self, example: Mapping[str, Any]) -> Answer:
        """Returns its answer.

        Raises:
            Refusal: The example cannot be read, or makes no sense.
        """
        ...


class Service:
    """Everything that the routes of an endpoint use."""

    def __init__(self, backends: Mapping[str, Backend], limits: Limits, indexes: Mapping[str, Index]) -> None:
        self.backends, self.limits, self.indexes, self.metrics = backends, limits, indexes, Metrics()
        self.bodies = Bodies(limits)
        self.under_way, self.ending = 0, False
        self._descriptions: dict[str, Description] = {}
        self._waiting: Counter[str] = Counter()

    async def description(self, name: str) -> Description:
        """Returns what a model takes and gives.

        Raises:
            Refusal: There is no such model.
        """
        if name not in self.backends:
            error = unknown("model", name, self.backends)
            raise Refusal(404, error.wrong, error.expected, error.hint)
        return self._descriptions.get(name) or await self.refresh(name)

    async def refresh(self, name: str) -> Description:
        """Returns what a model says of itself now."""
        self._descriptions[name] = await self.backends[name].describe()
        return self._descriptions[name]

    async def predict(self, name: str, request: Request) -> Response:
        """Returns the response to a question.

        Raises:
            Refusal: There is no such model, no room, or no sense in the question.
        """
        kind = wanted(request.headers.get("accept", ""), (await self.description(name)).outputs)
        description, answer = await self.answer(name, request)
        return respond(answer.outputs, kind, description.outputs, answer.version)

    async def answer(self, name: str, request: Request) -> tuple[Description, Answer]:
        """Returns a model's answer to a request's question, and the description of the version that gave it.

        Raises:
            Refusal: There is no such model, no room, or no sense in the question.
        """
        description = await self.description(name)
        if self.ending:
            again = {"Retry-After": "1", "Connection": "close"}
            raise Refusal(503, "The server is ending.", "", "Try again after a second.", again)
        self._check_room(name)
        check_type(request.headers)
        self.under_way += 1
        try:
            async with self.bodies.read(request) as body:
                with self._admitted(name):
                    example = await read_question(request.headers, body, description.inputs, self.limits)
                    answer = await self.ask(name, example)
        finally:
            self.under_way -= 1
        if answer.version != description.version:  # a new version went live: what it takes may have changed
            description = await self.refresh(name)
        return description, answer

    async def drain(self, seconds: float) -> int:
        """Takes no more questions, and waits for the answers to those that came; returns how many are left."""
        self.ending = True
        end = time.monotonic() + seconds
        while self.under_way and time.monotonic() < end:
            await asyncio.sleep(0.05)
        return self.under_way

    async def ask(self, name: str, example: Mapping[str, Any]) -> Answer:
        """Returns a model's answer, within the time limit.

        Raises:
            Refusal: The model is too slow, or refuses.
        """
        try:
            async with asyncio.timeout(self.limits.answer):
                answer = await self.backends[name].ask(example)
        except TimeoutError as cause:
            raise Refusal(
                504,
                f"The model {name!r} did not answer within {self.limits.answer:g} s.",
                hint="Try again later, or with smaller media.",
                headers={"Retry-After": "1"},
            ) from cause
        self.metrics.batches.labels(name).observe(answer.batch)
        return answer

    def _check_room(self, name: str) -> None:
        """Refuses what is too much: before its body is read, and once more when it has come."""
        if self._waiting[name] >= self.limits.waiting:
            self.metrics.rejected.labels(name).inc()
            raise Refusal(
                503,
                f"The model {name!r} has {self._waiting[name]} requests under way.",
                f"At most {self.limits.waiting} are taken at once.",
                "Try again after a second.",
                {"Retry-After": "1"},
            )

    @contextmanager
    def _admitted(self, name: str) -> Iterator[None]:
        """Counts a request in from when its body has come, so that slow bodies keep nobody out."""
        self._check_room(name)
        self._waiting[name] += 1
        begin, gauge = time.perf_counter(), self.metrics.waiting.labels(name)
        gauge.set(self._waiting[name])
        try:
            yield
        finally:
            self._waiting[name] -= 1
            gauge.set(self._waiting[name])
            self.metrics.seconds.labels(name).observe(time.perf_counter() - begin)
