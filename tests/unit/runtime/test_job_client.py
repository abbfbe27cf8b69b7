"""A cluster that sends its client elsewhere: nothing of what the client carries arrives there."""

import asyncio
import http.server
import json
import threading
from contextlib import ExitStack

import pytest

from sensorium.errors import SensoriumError
from sensorium.runtime.job_client import Client

CALLS = {
    "list": lambda client: client.list_jobs(),
    "logs": lambda client: client.get_job_logs("job_1"),
    "stop": lambda client: client.stop_job("job_1"),
    "submit": lambda client: client.submit_job(entrypoint="x", runtime_env={"env_vars": {"A": "b"}}),
    "follow": lambda client: asyncio.run(_all(client.tail_job_logs("job_1"))),
}


async def _all(lines):
    return [line async for line in lines]


@pytest.fixture
def there():
    """The address of a cluster that sends elsewhere what is asked of it, and what arrived elsewhere."""
    arrived = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.server is elsewhere:
                arrived.append(self.path)
            is_asked_first = self.path == "/api/version"
            self.send_response(200 if is_asked_first else 307)
            body = json.dumps({"version": "4", "ray_version": "2", "ray_commit": "", "session_name": ""}).encode()
            self.send_header("Location", f"http://127.0.0.1:{elsewhere.server_port}{self.path}")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *_):
            pass

    with ExitStack() as stack:
        first, elsewhere = (
            stack.enter_context(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)) for _ in range(2)
        )
        for each in (first, elsewhere):
            threading.Thread(target=each.serve_forever, daemon=True).start()
            stack.callback(each.shutdown)
        yield f"http://127.0.0.1:{first.server_port}", arrived


@pytest.mark.parametrize("call", CALLS)
def test_no_redirect_is_followed(there, call, monkeypatch):
    address, arrived = there
    monkeypatch.setenv("RAY_API_SERVER_ADDRESS", address)
    client = Client(address, headers={"X-Ray-Authorization": "Bearer canary-7c1f"})
    with pytest.raises(SensoriumError, match="sends elsewhere"):
        CALLS[call](client)
    assert arrived == []
