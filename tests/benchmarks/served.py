"""What the benchmarks of serving share: a model that costs something, clients, and the bare application."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import httpx

SCRIPTS = Path(__file__).parent / "scripts"
OPTIONS = (
    "training.epochs=0",
    "tracking.system=false",
    "modalities.image={name: image, size: 64, channels: 3}",
    "model.encoders.image={name: vit, dim: 256, depth: 8, heads: 4, patch: 8}",
)
"""An image encoder that takes tens of milliseconds on a core, as one in use does."""


def train(folder: Path, options: Sequence[str] = OPTIONS) -> str:
    """Returns the folder of a model with initial weights."""
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder / 'mlflow.db'}"}
    command = [str(Path(sys.executable).with_name("sensorium")), "train", "clip", *options, "--json"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return str(json.loads(done.stdout.splitlines()[-1])["model"])


def question(model: str) -> dict[str, str]:
    """Returns a question about one picture."""
    import torch

    from sensorium.inference.predictor import Predictor

    made = Predictor.load(model).model.task.inputs["image"].example(torch.Generator().manual_seed(0))
    return {"image": base64.b64encode(made).decode()}


def free_port() -> int:
    """Returns a port of loopback that is free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def bare(model: str) -> Iterator[str]:
    """Runs FastAPI and torch without a platform; yields the address to ask."""
    port = free_port()
    process = subprocess.Popen([sys.executable, str(SCRIPTS / "serve_bare.py"), model, str(port)])
    try:
        url = f"http://127.0.0.1:{port}"
        for _ in range(600):
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/healthz", timeout=1).close()
                break
            time.sleep(0.1)
        yield f"{url}/predict"
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def sensorium(model: str) -> Iterator[str]:
    """Serves by Sensorium; yields the address to ask."""
    from sensorium.runtime.serve_run import running
    from sensorium.serving.settings import check

    port = free_port()
    with running(check({"models": {"clip": {"model": model}}}), "127.0.0.1", port, None):
        yield f"http://127.0.0.1:{port}/predict"


def latency(url: str, asked: dict[str, str], count: int) -> float:
    """Returns the median seconds of a request, one after another."""
    with httpx.Client(timeout=60) as client:
        taken = []
        for _ in range(count):
            begin = time.perf_counter()
            client.post(url, json=asked).raise_for_status()
            taken.append(time.perf_counter() - begin)
    return sorted(taken)[count // 2]


def throughput(url: str, asked: dict[str, str], clients: int, seconds: float) -> float:
    """Returns requests a second of clients that ask one after another.

    They share the cores with the server, so they are aiohttp's: httpx takes as long for a request as the server.
    """

    async def run() -> int:
        done, end = 0, time.perf_counter() + seconds
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=clients)) as client:

            async def ask() -> None:
                nonlocal done
                while time.perf_counter() < end:
                    async with client.post(url, json=asked, raise_for_status=True) as answer:
                        await answer.read()
                    done += 1

            await asyncio.gather(*(ask() for _ in range(clients)))
        return done

    return asyncio.run(run()) / seconds


@contextlib.contextmanager
def workplace() -> Iterator[Path]:
    """Yields a folder for a while, and one thread for each process."""
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        before = Path.cwd()
        os.chdir(folder)
        try:
            yield Path(folder)
        finally:
            os.chdir(before)
