"""The route of a question to a model; it goes without the model's name where there is one model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from sensorium.serving.refusal import Refusal
from sensorium.serving.service import Service


def add_question(
    app: FastAPI, service: Service, verb: str, answer: Callable[[str, Request], Awaitable[Response]]
) -> None:
    """Adds `/models/NAME/VERB` and `/VERB`, each request counted by its status.

    Args:
        app: What the routes are added to.
        service: The models.
        verb: Last part of the address.
        answer: Name of a model and request -> response, or a refusal that is raised.
    """

    async def answered(name: str, request: Request) -> Response:
        try:
            response = await answer(name, request)
        except Refusal as refusal:
            response = refusal.response()
        label = name if name in service.backends else ""
        service.metrics.requests.labels(label, str(response.status_code)).inc()
        return response

    async def named(request: Request) -> Response:
        return await answered(request.path_params["name"], request)

    async def only(request: Request) -> Response:
        if len(service.backends) > 1:
            names = ", ".join(service.backends)
            raise Refusal(404, "There are several models.", f"Known: {names}.", f"Ask /models/NAME/{verb}.")
        return await answered(next(iter(service.backends)), request)

    app.add_route(f"/models/{{name}}/{verb}", named, ["POST"])
    app.add_route(f"/{verb}", only, ["POST"])
