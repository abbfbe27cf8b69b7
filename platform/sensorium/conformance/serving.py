"""Check of a task as an endpoint: what is served equals what is predicted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.requests import Request

from sensorium.conformance.finding import ContractError
from sensorium.serving.description import as_json, probe
from sensorium.serving.served import Local, load
from sensorium.serving.service import Service
from sensorium.serving.settings import Limits

NAME = "checked"
LARGEST = 4
"""Largest batch that is tried."""


def serves_what_it_predicts(model: str) -> str:
    """Asks an endpoint, without a network, by JSON; the answer must be that of the model, to the last digit."""
    ready = load(model, NAME, Limits(), LARGEST)
    question, answer = probe(ready.exact.predictor)
    expected = json.loads(json.dumps({name: as_json(value) for name, value in answer.items()}))
    asked = {name: as_json(value) for name, value in question.items()}
    got = asyncio.run(_asked(Service({NAME: Local(ready)}, Limits(), {}), asked))
    differing = sorted(name for name in {*expected, *got} if expected.get(name) != got.get(name))
    if differing:
        raise ContractError(f"The endpoint answers otherwise than `predict`: {', '.join(differing)}.")
    undeclared = sorted(set(got) - set(ready.description.outputs))
    if undeclared:
        raise ContractError(f"It answers {', '.join(undeclared)}, which `outputs` does not declare.")
    return f"POST {{{', '.join(asked)}}}"


async def _asked(service: Service, question: dict[str, Any]) -> dict[str, Any]:
    body = json.dumps(question).encode()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": headers}
    response = await service.predict(NAME, Request(scope, receive))
    answer: dict[str, Any] = json.loads(bytes(response.body))
    return answer
