"""Embeddings over HTTP, and search by them through an index."""

from __future__ import annotations

import asyncio
import json

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from sensorium.serving.answer import respond, wanted
from sensorium.serving.description import Description
from sensorium.serving.refusal import Refusal
from sensorium.serving.route import add_question
from sensorium.serving.service import Answer, Service

HITS = 10
"""Hits of a search that does not say how many."""

MOST = 100
"""Hits of a search at most."""


def add_embed(app: FastAPI, service: Service) -> None:
    """Adds the question for embeddings: the same inputs, and of the answer the embeddings alone."""

    async def embed(name: str, request: Request) -> Response:
        kind = wanted(request.headers.get("accept", ""), {})
        description, answer = await _embedded(service, name, request)
        found = {output: answer.outputs[output] for output in _embeddings(description, answer).values()}
        return respond(found, kind, description.outputs, answer.version)

    add_question(app, service, "embed", embed)


def add_search(app: FastAPI, service: Service) -> None:
    """Adds the search for what lies nearest to the embedding of a question, through the model's index."""

    async def search(name: str, request: Request) -> Response:
        kind = wanted(request.headers.get("accept", ""), {})
        index = service.indexes.get(name)
        if index is None and name in service.backends:
            raise Refusal(
                404,
                f"The model {name!r} has no index.",
                f"Known: {', '.join(service.indexes) or 'none'}.",
                "`sensorium index` makes one, `sensorium serve --index NAME=FOLDER` takes it.",
            )
        count = _count(request)
        description, answer = await _embedded(service, name, request)
        assert index is not None  # an unknown model was refused
        if description.fingerprint != index.fingerprint:
            raise Refusal(
                409,
                "The index was made with another model.",
                f"{answer.version} is live, {index.model} made it.",
                "Whoever runs the server makes a new index with `sensorium index`.",
            )
        embeddings = _embeddings(description, answer)
        if len(embeddings) != 1:
            raise Refusal(422, f"The question has {len(embeddings)} embeddings: {', '.join(embeddings)}.", "Give one.")
        (output,) = embeddings.values()
        hits = await asyncio.to_thread(index.search, answer.outputs[output], count)
        shown = [{"id": hit.id, "input": hit.input, "score": hit.score, "fields": hit.fields} for hit in hits]
        headers = {"X-Model-Version": answer.version.encode("ascii", "replace").decode()}
        return Response(json.dumps({"hits": shown}, ensure_ascii=False).encode(), 200, headers, kind)

    add_question(app, service, "search", search)


async def _embedded(service: Service, name: str, request: Request) -> tuple[Description, Answer]:
    description = await service.description(name)
    if not description.embeddings:
        raise Refusal(404, f"The model {name!r} gives no embeddings.", "", "Ask it by `predict`.")
    return await service.answer(name, request)


def _embeddings(description: Description, answer: Answer) -> dict[str, str]:
    """Returns input -> output, of the embeddings that an answer holds."""
    return {name: output for name, output in description.embeddings.items() if output in answer.outputs}


def _count(request: Request) -> int:
    given = request.query_params.get("k", str(HITS))
    if not (given.isascii() and given.isdecimal()) or not 1 <= int(given[:9]) <= MOST:
        raise Refusal(422, f"k is {given[:40]!r}.", f"A whole number from 1 to {MOST} was expected.")
    return int(given)
