"""The routes of an endpoint."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from sensorium.inference.index import Index
from sensorium.serving.guard import Guard
from sensorium.serving.openapi import document
from sensorium.serving.page import add_page
from sensorium.serving.refusal import Refusal
from sensorium.serving.route import add_question
from sensorium.serving.search import add_embed, add_search
from sensorium.serving.service import Backend, Service
from sensorium.serving.settings import Limits

logger = logging.getLogger("sensorium.serving")


def application(
    backends: Mapping[str, Backend],
    limits: Limits | None = None,
    key: str = "",
    indexes: Mapping[str, Index] | None = None,
    hosts: Collection[str] = (),
) -> FastAPI:
    """Returns the endpoint as an ASGI application.

    Args:
        backends: Name -> model.
        limits: What requests may cost.
        key: SHA-256 of the key that requests must carry; empty asks for none.
        indexes: Name of a model -> what its `search` looks through.
        hosts: Names by which the server may be asked; none lets any.
    """
    app = FastAPI(title="Sensorium", openapi_url=None, redoc_url=None)
    app.state.service = service = Service(backends, limits or Limits(), indexes or {})
    for add in ROUTES:
        add(app, service)
    app.add_middleware(Guard, key=key, hosts=hosts)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _not_found)
    app.add_exception_handler(Exception, _failed)
    return app


def add_state(app: FastAPI, service: Service) -> None:
    """Adds what says how the server is."""

    async def healthz(request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def models(request: Request) -> Response:
        found = {name: asdict(await service.refresh(name)) for name in service.backends}
        return JSONResponse({"models": found})

    async def metrics(request: Request) -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    app.add_route("/healthz", healthz, ["GET"])
    app.add_route("/models", models, ["GET"])
    app.add_route("/metrics", metrics, ["GET"])


def add_predict(app: FastAPI, service: Service) -> None:
    """Adds the question to a model."""
    add_question(app, service, "predict", service.predict)


def add_documents(app: FastAPI, service: Service) -> None:
    """Adds the OpenAPI document that `/docs` shows; it follows the models as they change."""

    async def openapi(request: Request) -> Response:
        found = {name: await service.description(name) for name in service.backends}
        return JSONResponse(document(found, service.limits, service.indexes))

    app.add_route("/openapi.json", openapi, ["GET"])


ROUTES: tuple[Callable[[FastAPI, Service], None], ...] = (
    add_state,
    add_predict,
    add_embed,
    add_search,
    add_documents,
    add_page,
)
"""What an endpoint offers; each function adds its routes for all models."""


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    return error.response()


async def _not_found(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "`GET /docs` shows what there is."
    return Refusal(error.status_code, f"{error.detail}.", "", hint, dict(error.headers or {})).response()


async def _failed(request: Request, error: Exception) -> Response:
    logger.exception("a request failed", exc_info=error)
    return Refusal(500, "The server failed.", "", "Its log says why.").response()
