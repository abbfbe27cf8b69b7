"""An S3 server on this machine, behind a proxy that answers late and goes away for a while."""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self

import httpx
import pytest

BUCKET = "s3://bucket"


class Proxy:
    """Hands bytes on between clients and a server, from a port of its own.

    Attributes:
        late: Seconds by which an answer is delayed.
        requests: First line of each request that has come.
        outages: What is in the first line of a request in whose midst the server goes away, and for how many seconds.
    """

    def __init__(self, port: int, late: float = 0.0) -> None:
        self.behind, self.late = port, late
        self.requests: list[str] = []
        self.outages: dict[str, float] = {}
        self.open: set[socket.socket] = set()
        self.listener: socket.socket | None = None
        self.pause = threading.Timer(0.0, self.come_back)
        self.port = 0
        self.come_back()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def come_back(self) -> None:
        """Listens, on the same port as before."""
        self.listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()

    def go_away(self) -> None:
        """Breaks all connections off, and refuses new ones."""
        if self.listener is not None:
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes whoever waits to accept
            self.listener.close()
        self.listener = None
        for each in [*self.open]:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def go_away_for(self, seconds: float) -> None:
        """Goes away, and comes back by itself."""
        self.go_away()
        self.pause = threading.Timer(seconds, self.come_back)
        self.pause.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.pause.cancel()
        self.go_away()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(("127.0.0.1", self.behind))
        except OSError:  # it is down for good
            client.close()
            return
        self.open |= {client, server}
        with client, server, selectors.DefaultSelector() as ready, suppress(OSError):
            ready.register(client, selectors.EVENT_READ, server)
            ready.register(server, selectors.EVENT_READ, client)
            asked = False
            while True:
                for key, _ in ready.select():
                    data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                    if not data:
                        return
                    if key.fileobj is client:
                        line = data.split(b"\r\n", 1)[0]
                        if line.endswith(b"HTTP/1.1"):
                            self.requests.append(line.decode(errors="replace").removesuffix(" HTTP/1.1"))
                            asked = True
                            for what in [each for each in self.outages if each in self.requests[-1]]:
                                self.go_away_for(self.outages.pop(what))
                                return
                    elif asked:
                        time.sleep(self.late)
                        asked = False
                    key.data.sendall(data)
        self.open -= {client, server}


@contextmanager
def bucket(late: float = 0.0) -> Iterator[Proxy]:
    """A bucket `s3://bucket`, which fsspec, this process's children and Ray's workers find by their environment."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # else each request is a line
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    httpx.post(f"http://127.0.0.1:{port}/moto-api/reset").raise_for_status()  # servers of a process share their buckets
    with Proxy(port, late) as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", proxy.uri)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("no_proxy", "127.0.0.1")
        forget()
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("bucket")
        try:
            yield proxy
        finally:
            forget()
            server.stop()


def forget() -> None:
    """Has the next file system ask the environment anew."""
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
