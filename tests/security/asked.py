"""A server in this process, with a key and names of its own, that attacks are sent to."""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path
from typing import Any

import httpx
from starlette.testclient import TestClient

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.serving.application import application
from sensorium.serving.settings import Limits, digest
from sensorium.training import runs
from sensorium.training.execution import execute

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "serving"))
import echo

KEY = "a-key-of-sixteen"
CANARY = "canary-7c1f"
"""What nobody may get to see."""
HOSTS = ("127.0.0.1", "localhost", "::1", "testserver")
LIMITS = Limits(body=200_000, max_pixels=10_000, max_seconds=2, arrival=0.5)
JSON = {"Content-Type": "application/json"}


def coded(content: bytes) -> str:
    """Returns bytes as JSON takes them."""
    return base64.b64encode(content).decode()


GOOD = {"picture": coded(echo.png())}
"""A question that is answered."""


def guarded() -> Any:
    """Returns the application."""
    model = echo.local(limits=LIMITS)
    return application({"echo": model}, LIMITS, key=digest(KEY), hosts=HOSTS)


def send(client: TestClient, request: str, headers: Any = None, key: bool = True, **body: Any) -> httpx.Response:
    """Sends `METHOD PATH` with a body, as `httpx.request` takes it, and the key unless told otherwise."""
    method, path = request.split(" ", 1)
    given = {"Authorization": f"Bearer {KEY}"} if key else {}
    if isinstance(headers, list):  # with names twice
        return client.request(method, path, headers=[*given.items(), *headers], **body)
    return client.request(method, path, headers={**given, **(headers or {})}, **body)


def check_refused(answer: httpx.Response, status: int) -> None:
    """Checks that an answer is a refusal: a status with sentences, and nothing of what is secret."""
    assert answer.status_code == status, answer.text
    assert KEY not in answer.text
    assert CANARY not in answer.text
    assert "Traceback" not in answer.text
    if answer.content and status != 405:
        assert json.loads(answer.text)["error"]["wrong"].endswith(".")


def check_goes_on(client: TestClient) -> None:
    """Checks that an honest request is answered as before."""
    answer = send(client, "POST /predict", json=GOOD)
    assert answer.status_code == 200, answer.text
    assert base64.b64decode(answer.json()["picture"]) == echo.png()


def hardly_trained(storage: Path) -> Path:
    """Returns the folder of a model of a task that the module `every_hook` registers."""
    assembly = assemble(load("lines", ["plugins=[every_hook]", "training.epochs=0", f"run.storage={storage}"]))
    return Path(execute(assembly, runs.create(assembly, {})).model)
