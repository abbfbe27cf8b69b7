"""An application on a port of loopback, for a browser or a socket to visit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn


@contextmanager
def running(app: Any, http: Any = "auto") -> Iterator[str]:
    """Serves an application on a free port of loopback; yields its address.

    Args:
        app: The application.
        http: What uvicorn reads HTTP with.
    """
    server = uvicorn.Server(uvicorn.Config(app, "127.0.0.1", 0, http=http, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
    assert not thread.is_alive()
