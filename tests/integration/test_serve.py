"""Models on Ray Serve: what is answered, what is refused, and that nothing is lost when versions or replicas go."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import shutil
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import httpx
import psutil
import pytest
import torch

from sensorium.errors import SensoriumError, UserError
from sensorium.inference.predictor import Predictor
from sensorium.training.session import started

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(600)]

TINY = (
    "dataset.limit={train: 192, test: 48}",
    "model.encoders.image.widths=[8, 16]",
    "model.encoders.image.dim=16",
    "model.encoders.text.dim=16",
    "model.encoders.text.depth=1",
    "model.encoders.text.heads=2",
    "model.fusion.dim=8",
    "training.epochs=1",
    "training.global_batch=64",
    "tracking.register=tiny",
    "tracking.system=false",
)


class Server:
    """The running server, and two trained models."""

    def __init__(self, url: str, models: list[str]) -> None:
        self.url, self.models = url, models
        self.predictors = [Predictor.load(model) for model in models]
        image = self.predictors[0].model.task.inputs["image"]
        random = torch.Generator().manual_seed(0)
        self.pictures = [image.example(random) for _ in range(8)]
        self.right = [[predictor([{"image": p}])[0] for p in self.pictures] for predictor in self.predictors]

    def question(self, number: int = 0) -> dict[str, str]:
        return {"image": base64.b64encode(self.pictures[number % 8]).decode()}

    def ask(self, number: int = 0, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/predict", json=self.question(number), timeout=60, **options)

    def live(self) -> int:
        """Which of the two models answers."""
        answer = self.ask().json()
        return [right[0] for right in self.right].index(answer)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, store: str) -> Iterator[Server]:
    """One Serve, with one of two models that differ in their seed."""
    from sensorium.runtime.serve_run import running
    from sensorium.serving.settings import check

    folder = tmp_path_factory.mktemp("serve")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", store)
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.delenv("SENSORIUM_ALLOW_PLUGINS", raising=False)  # modules of other tests
        models = [started("clip", [*TINY, f"run.seed={seed}"]).train()["model"] for seed in (0, 1)]
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        limits = {"waiting": 24}
        settings = check({"models": {"clip": {"model": models[0], "num_cpus": 0.5}}, "limits": limits})
        with running(settings, "127.0.0.1", port, None) as versions:
            assert versions == {"clip": models[0]}
            yield Server(f"http://127.0.0.1:{port}", models)
    assert not [p for p in psutil.Process().children(recursive=True) if p.name() in ("raylet", "haproxy")]


@pytest.fixture(autouse=True)
def goes_on(server: Server) -> Iterator[None]:
    """After whatever a test did, the next good request is answered."""
    yield
    assert server.ask().json() in [right[0] for right in server.right]


class Load:
    """Clients that ask one after another until the block ends; counts what they are answered.

    Args:
        server: Who is asked.
        clients: How many.
        pause: Seconds that a client waits when it was turned away.
    """

    def __init__(self, server: Server, clients: int, pause: float = 0.0) -> None:
        self.server, self.clients, self.pause = server, clients, pause
        self.seen: Counter[str] = Counter()
        self._over = threading.Event()

    def __enter__(self) -> Load:
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join(timeout=90)

    async def _run(self) -> None:
        connector = aiohttp.TCPConnector(limit=self.clients)
        async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(60)) as client:
            await asyncio.gather(*(self._client(client, number) for number in range(self.clients)))

    async def _client(self, client: aiohttp.ClientSession, number: int) -> None:
        while not self._over.is_set():
            number += 1
            try:
                async with client.post(f"{self.server.url}/predict", json=self.server.question(number)) as answer:
                    status, said = answer.status, await answer.json()
            except (aiohttp.ClientError, TimeoutError) as error:
                self.seen[type(error).__name__] += 1
                continue
            if status != 200:
                self.seen[str(status)] += 1
                await asyncio.sleep(self.pause)
                continue
            which = [i for i, right in enumerate(self.server.right) if right[number % 8] == said]
            self.seen[f"model {which[0]}" if which else "wrong digits"] += 1


def test_what_is_served_equals_predict_to_the_last_digit(server: Server) -> None:
    for number in range(8):
        right = server.right[0][number]
        assert server.ask(number).json() == right
        files = {"image": ("a.png", server.pictures[number], "image/png")}
        assert httpx.post(f"{server.url}/models/clip/predict", files=files).json() == right
    with Load(server, 16) as load:
        time.sleep(5)
    assert set(load.seen) == {"model 0"}, load.seen
    text = httpx.get(f"{server.url}/metrics").text
    alone = float(text.split('sensorium_batch_size_bucket{le="1.0",model="clip"} ')[1].split()[0])
    total = float(text.split('sensorium_batch_size_count{model="clip"} ')[1].split()[0])
    assert alone < 0.9 * total, "requests were computed in batches"


def test_everything_listens_on_loopback(server: Server) -> None:
    own = {process.pid for process in psutil.Process().children(recursive=True) if process.name() == "haproxy"}
    assert own
    heard = [c.laddr for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.pid in own]
    assert len(heard) == 3
    assert {address.ip for address in heard} == {"127.0.0.1"}


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"x" * (100 << 20), "application/json", 413),
        (b'{"text": "\xff"}', "application/json", 400),
        (b'{"image": "/etc/hostname"}', "application/json", 422),
        (b'{"image": "iVBORw0KGgo="}', "application/json", 422),
        (b"{}", "application/json", 422),
        (b"{}", "text/plain", 415),
    ],
)
def test_bad_input_is_refused_with_a_sentence(server: Server, content: bytes, kind: str, status: int) -> None:
    hangs_up = (httpx.WriteError, httpx.ReadError) if status == 413 else ()  # on what it does not read
    with contextlib.suppress(*hangs_up):
        answer = httpx.post(f"{server.url}/predict", content=content, headers={"Content-Type": kind}, timeout=30)
        assert answer.status_code == status
        assert answer.json()["error"]["wrong"].endswith(".")
    assert server.ask().status_code == 200, "the next good request is answered"


@pytest.mark.parametrize(("size", "status"), [(3, 200), (5, 200), (11.9, 200), (12.1, 413)])
def test_bodies_are_taken_up_to_the_limit(server: Server, size: float, status: int) -> None:
    """As base64, 12 MiB are the 16 MiB of a body; what follows the end of a PNG is left out."""
    content = server.pictures[0].ljust(int(size * (1 << 20)), b"\0")
    hangs_up = (httpx.WriteError, httpx.ReadError) if status == 413 else ()
    with contextlib.suppress(*hangs_up):
        question = {"image": base64.b64encode(content).decode()}
        answer = httpx.post(f"{server.url}/predict", json=question, timeout=60)
        assert answer.status_code == status
        assert status != 200 or answer.json() == server.right[0][0]


def test_answers_may_be_as_large(server: Server) -> None:
    """A model whose embeddings have 600,000 numbers."""
    from sensorium.runtime.serve_run import _change

    large = started(
        "clip",
        [
            *TINY[:6],
            "model.fusion.dim=600000",
            "training.epochs=1",
            "training.global_batch=64",
            "dataset.limit={train: 64, test: 8}",
            "tracking.system=false",
        ],
    ).train()["model"]
    right = Predictor.load(large)([{"image": server.pictures[0]}])[0]
    try:
        _change({"clip": large}, [])
        answer = server.ask()
        assert answer.status_code == 200
        assert len(answer.content) > 4 << 20
        assert answer.json() == right
    finally:
        _change({}, ["clip"])


def test_a_body_in_pieces_is_cut_off(server: Server) -> None:
    sent = []

    def pieces() -> Iterator[bytes]:
        for _ in range(1000):
            sent.append(1)
            yield b"x" * (1 << 20)

    with contextlib.suppress(httpx.WriteError, httpx.ReadError):
        headers = {"Content-Type": "application/json"}
        assert httpx.post(f"{server.url}/predict", content=pieces(), headers=headers, timeout=30).status_code == 413
    assert len(sent) < 200


def test_a_thousand_connections_that_say_nothing(server: Server) -> None:
    host, _, port = server.url.removeprefix("http://").partition(":")
    idle = [socket.create_connection((host, int(port)), timeout=10) for _ in range(1000)]
    try:
        for connection in idle[::2]:
            connection.sendall(b"POST /predict HTTP/1.1\r\nHost: a\r\n")
        begin = time.monotonic()
        assert server.ask().status_code == 200
        assert time.monotonic() - begin < 10
        time.sleep(12)
        idle[0].settimeout(5)
        assert b"408" in idle[0].recv(100), "HAProxy ends it"
    finally:
        for connection in idle:
            connection.close()


def replicas() -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if "ServeReplica:sensorium:model-clip" in " ".join(process.info["cmdline"] or ()):
                found.append(process)
    return found


def held() -> int:
    """Returns the bytes of memory that the replicas of ingress and model have."""
    names, total = ("ServeReplica:sensorium:ingress", "ServeReplica:sensorium:model-clip"), 0
    for process in psutil.process_iter(["cmdline"]):
        with contextlib.suppress(psutil.Error):
            if any(name in " ".join(process.info["cmdline"] or ()) for name in names):
                total += process.memory_info().rss
    return total


def test_ten_times_the_load_is_turned_away_while_others_are_answered_and_memory_stays_flat(server: Server) -> None:
    with Load(server, 24) as load:
        time.sleep(3)
    assert set(load.seen) <= {"model 0"}, load.seen
    before, turned_away = held(), []
    with Load(server, 240, pause=0.25) as load:
        time.sleep(2)
        while len(turned_away) < 20:
            asked = load.seen["model 0"]
            answer = server.ask()
            if answer.status_code == 503:
                turned_away.append(answer)
            # Whoever is turned away waits for none of those who are answered, and keeps none of them waiting.
            end = time.monotonic() + 60
            while load.seen["model 0"] == asked and time.monotonic() < end:
                time.sleep(0.01)
            assert load.seen["model 0"] > asked, "others are answered meanwhile"
    for answer in turned_away:
        assert answer.headers["retry-after"] == "1"
        assert "under way" in answer.json()["error"]["wrong"]
    assert set(load.seen) == {"model 0", "503"}, load.seen
    assert held() - before < 64 << 20


def test_a_new_version_goes_live_without_a_lost_request_and_back(server: Server) -> None:
    from sensorium.runtime.serve_run import _change

    with Load(server, 8) as load:
        time.sleep(1)
        state = _change({"clip": server.models[1]}, [])
        assert state["clip"]["version"] == server.models[1]
        assert server.live() == 1
        time.sleep(1)
        state = _change({}, ["clip"])
        assert state["clip"]["version"] == server.models[0]
        assert server.live() == 0
    assert set(load.seen) == {"model 0", "model 1"}, load.seen
    with pytest.raises(SensoriumError, match="no earlier version"):
        _change({}, ["clip"])
    with pytest.raises(UserError, match="no model 'clop'"):
        _change({"clop": server.models[1]}, [])


def test_a_broken_version_leaves_the_old_one_live(server: Server, tmp_path: Path) -> None:
    from sensorium.runtime.serve_run import _change

    broken = tmp_path / "model"
    shutil.copytree(server.models[1], broken)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with Load(server, 4) as load:
        for model in (str(broken), str(tmp_path / "nothing"), "models:/tiny@nobody"):
            with pytest.raises(SensoriumError):
                _change({"clip": model}, [])
    assert set(load.seen) == {"model 0"}, load.seen
    assert server.live() == 0


def test_an_alias_is_followed(server: Server, store: str) -> None:
    from mlflow import MlflowClient

    from sensorium.runtime.serve_run import _change

    client = MlflowClient(store)
    client.set_registered_model_alias("tiny", "champion", "1")
    assert _change({"clip": "models:/tiny@champion"}, [])["clip"]["version"] == "models:/tiny/1"
    with Load(server, 4) as load:
        client.set_registered_model_alias("tiny", "champion", "2")
        end = time.monotonic() + 90
        while server.live() == 0 and time.monotonic() < end:
            time.sleep(0.5)
    assert set(load.seen) == {"model 0", "model 1"}, load.seen
    assert _change({}, ["clip"])["clip"]["follows"] == ""
    assert server.live() == 0


def test_a_replica_that_is_killed_loses_no_request(server: Server) -> None:
    (victim,) = replicas()
    with Load(server, 8) as load:
        time.sleep(1)
        os.kill(victim.pid, signal.SIGKILL)
        end = time.monotonic() + 60
        while time.monotonic() < end and not [p for p in replicas() if p.pid != victim.pid]:
            time.sleep(0.5)
        time.sleep(3)
        print(load.seen)
    assert set(load.seen) == {"model 0"}, load.seen
