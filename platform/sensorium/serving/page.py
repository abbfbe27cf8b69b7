"""Pages for a browser: one to try each model, and one that shows how programs ask. No other host is asked.

Each is one file, which the browser fills from `/models` or `/openapi.json`: nothing is made or kept here. A page asks
as every client does, with the same address, limits and key.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib.resources import files

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from sensorium.serving.service import Service


def _read(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")


def _parts(page: str, tag: str) -> list[str]:
    """Returns a page's own scripts or styles."""
    return re.findall(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)


PAGE = _read("page.html")
DOCS = _read("docs.html").replace("<style></style>", f"<style>{_parts(PAGE, 'style')[0]}</style>")
"""The page that shows the OpenAPI document, in the style of the other."""


def add_page(app: FastAPI, service: Service) -> None:
    """Adds the page of each model, `/`, which shows the one there is, or lists them, and `/docs`."""

    async def first(request: Request) -> Response:
        return _answer(PAGE)

    async def page(request: Request) -> Response:
        await service.description(request.path_params["name"])  # refuses a name that is not known
        return _answer(PAGE)

    async def docs(request: Request) -> Response:
        return _answer(DOCS)

    app.add_route("/", first, ["GET"])
    app.add_route("/models/{name}/page", page, ["GET"])
    app.add_route("/docs", docs, ["GET"])


def _answer(page: str) -> Response:
    """Returns a page, of which the browser runs its own script alone, and which asks this server and no other."""
    policy = (
        f"default-src 'none'; script-src {_hashes(page, 'script')}; style-src {_hashes(page, 'style')}; "
        "connect-src 'self'; img-src data: blob:; media-src data: blob:; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    headers = {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return HTMLResponse(page, headers=headers)


def _hashes(page: str, tag: str) -> str:
    """Returns a page's own scripts or styles, as a Content-Security-Policy names them."""
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in _parts(page, tag))
    return " ".join(f"'sha256-{digest}'" for digest in digests)
