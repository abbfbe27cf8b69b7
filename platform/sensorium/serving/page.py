"""A page to try each model in a browser. It asks as every client does: same address, limits and key.

One file, `page.html`, which the browser fills from `/models`: nothing is made or kept here, and no other host is asked.
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

PAGE = files(__package__).joinpath("page.html").read_text(encoding="utf-8")


def add_page(app: FastAPI, service: Service) -> None:
    """Adds the page of each model, and `/`, which shows the one there is, or lists them."""

    async def first(request: Request) -> Response:
        return HTMLResponse(PAGE, headers=HEADERS)

    async def page(request: Request) -> Response:
        await service.description(request.path_params["name"])  # refuses a name that is not known
        return HTMLResponse(PAGE, headers=HEADERS)

    app.add_route("/", first, ["GET"])
    app.add_route("/models/{name}/page", page, ["GET"])


def _hashes(tag: str) -> str:
    """Returns the page's own scripts or styles, as a Content-Security-Policy names them."""
    found = re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
    digests = (base64.b64encode(hashlib.sha256(each.encode()).digest()).decode() for each in found)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; script-src {_hashes('script')}; style-src {_hashes('style')}; "
    "connect-src 'self'; img-src data: blob:; media-src data: blob:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""The browser runs this page's script alone, and asks this server and no other."""
