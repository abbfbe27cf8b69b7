"""A server that asks for a login is asked before a training, not after it."""

import base64
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sensorium import UserError
from sensorium.redaction import confided
from sensorium.tracking.models import data, fetch, resolve
from sensorium.tracking.uri import check_uri

LOGIN = base64.b64encode(b"ada:pass word+%").decode()


class Guarded(BaseHTTPRequestHandler):
    """Lets one user in, below a path."""

    def do_GET(self) -> None:
        right = self.headers["Authorization"] == f"Basic {LOGIN}" and self.path.startswith("/team/api/2.0/mlflow/")
        self._answer(200 if right else 401, {"experiments": []})

    do_POST = do_GET  # noqa: N815 (the name that http.server calls)

    def _answer(self, status, content):
        data = json.dumps(content).encode() if status == 200 else b"You are not authenticated."
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words) -> None:
        pass


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    made = HTTPServer(("127.0.0.1", 0), Guarded)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{made.server_port}/team"
    made.shutdown()
    made.server_close()


@pytest.fixture(autouse=True)
def nobody(monkeypatch):
    for name in (
        "MLFLOW_TRACKING_URI",
        "MLFLOW_TRACKING_USERNAME",
        "MLFLOW_TRACKING_PASSWORD",
        "SENSORIUM_TRACKING_URI",
    ):
        monkeypatch.delenv(name, raising=False)


def test_whoever_has_the_password_gets_in(server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://ada:pass%20word+%25@{server}/")
    assert check_uri(f"http://***@{server}/") == f"http://***@{server}/"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "ada")
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "pass word+%")
    assert check_uri(f"http://{server}") == f"http://{server}"


@pytest.mark.parametrize("login", ["", "ada:wrong@", "bob:pass%20word+%25@"])
def test_nobody_else_does_and_no_password_is_told(login, server, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{login}{server}")
    hidden = confided(f"http://{login}{server}")
    for ask in (lambda: check_uri(hidden), lambda: fetch("models:/digits/1"), lambda: resolve("models:/digits@best")):
        with pytest.raises(UserError, match=r"The MLflow server at http://.*/team refuses the user") as caught:
            ask()
        assert "wrong" not in str(caught.value)


def test_a_server_that_is_away_may_come_back_later():
    assert check_uri("http://127.0.0.1:1") == "http://127.0.0.1:1"


@pytest.mark.parametrize("uri", ["sqlite:///", "sqlite://", "sqlite:/tmp/x.db", "sqlite:x.db", "http://", "http:/host"])
def test_an_address_without_a_place_is_refused(uri):
    with pytest.raises(UserError, match="MLflow cannot record at"):
        check_uri(uri)


@pytest.mark.parametrize("use", [lambda: fetch("models:/a/1"), lambda: resolve("models:/a@b"), lambda: data("runs:/a")])
def test_a_server_that_is_down_is_told_from_a_wrong_name(use, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(UserError, match=r"The MLflow server at http://127\.0\.0\.1:9 cannot be reached\. It is down"):
        use()
