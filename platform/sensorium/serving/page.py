"""A page to try each model in a browser. It asks as every client does: same address, limits and key."""

from __future__ import annotations

import asyncio
import html
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from sensorium.serving.description import Description
from sensorium.serving.refusal import Refusal
from sensorium.serving.service import Service

FRAME = 65_536
"""Bytes that a form's upload may have beyond those of a question."""

POLICY = (
    b"default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    b"style-src 'self' 'unsafe-inline'; worker-src 'self' blob:; form-action 'self'; frame-ancestors 'self'"
)
"""Content-Security-Policy: the browser asks this server and no other."""

LIST = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Sensorium</title>
<body style="font-family: system-ui, sans-serif; max-width: 40em; margin: 3em auto">
<h1>Sensorium</h1><ul>{items}</ul><p><a href="docs">How programs ask</a></p></body></html>"""


def add_page(app: FastAPI, service: Service) -> None:
    """Adds the page of each model, and `/`, which leads to it, or lists them where there are several."""
    pages = Pages(app, service)

    async def first(request: Request) -> Response:
        _check_installed()
        if len(service.backends) == 1:
            return RedirectResponse(f"models/{next(iter(service.backends))}/page/")
        summaries = {name: (await service.description(name)).summary for name in service.backends}
        items = [
            f'<li><a href="models/{html.escape(name)}/page/">{html.escape(name)}</a>: {html.escape(summary)}</li>'
            for name, summary in summaries.items()
        ]
        return HTMLResponse(LIST.format(items="".join(items)))

    app.add_route("/", first, ["GET"])
    app.router.routes.append(Route("/models/{name}/page{rest:path}", pages))
    before = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[Any]:
        async with before(app) as state, pages.open:
            yield state

    app.router.lifespan_context = lifespan


class Pages:
    """The pages, each made at its first visit, and anew when a version with other inputs or outputs is live.

    Args:
        app: The endpoint, which the pages ask.
        service: The models.
    """

    def __init__(self, app: FastAPI, service: Service) -> None:
        self.app, self.service = app, service
        self.open = AsyncExitStack()
        self._made: dict[str, tuple[Description, FastAPI]] = {}
        self._making = asyncio.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request of a browser."""
        _check_installed()
        name = scope["path_params"]["name"]
        description = await self.service.description(name)
        self._check_size(Request(scope))
        async with self._making:
            if name not in self._made or self._made[name][0] != description:
                self._made[name] = description, await self._make(name, description)

        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
            await send(message)

        await self._made[name][1](scope, receive, sent)

    async def _make(self, name: str, description: Description) -> FastAPI:
        from sensorium.serving import form

        page = await asyncio.to_thread(form.page, self.app, name, description, self.service.limits)
        await self.open.enter_async_context(page.router.lifespan_context(page))
        return page

    def _check_size(self, request: Request) -> None:
        """Refuses a body that is larger than a question may be, or does not say how large it is."""
        if request.method in ("GET", "HEAD"):
            return
        said, most = request.headers.get("content-length", ""), self.service.limits.body + FRAME
        if not said.isdecimal():
            raise Refusal(411, "The body does not say how long it is.", "Content-Length was expected.")
        if int(said) > most:
            raise Refusal(413, "The body is too large.", f"At most {most} bytes were expected.", "Send smaller media.")


def _check_installed() -> None:
    if find_spec("gradio") is None:
        raise Refusal(
            404,
            "The page needs Gradio, which is not installed.",
            "",
            "`pip install 'sensorium[page]'` on the server installs it. `GET /docs` shows what there is besides.",
        )
