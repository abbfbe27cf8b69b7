"""The end of a server on Ray Serve: what has come is answered, nothing more is taken, and Ray says nothing."""

from __future__ import annotations

import base64
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
import torch
from test_serve import TINY

from sensorium.inference.predictor import Predictor
from sensorium.training.session import started

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def served(
    tmp_path: Path, store: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[subprocess.Popen[str], str, str, list[str]]]:
    """`sensorium serve`, its address, the model, and the lines that it has printed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", store)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.delenv("SENSORIUM_ALLOW_PLUGINS", raising=False)
    model = started("clip", TINY).train()["model"]
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "sensorium.cli", "serve", f"clip={model}", "--port", str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line)
        if line.startswith("listens"):
            break
    assert process.poll() is None, "".join(lines)
    try:
        yield process, f"http://127.0.0.1:{port}", model, lines
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)


def test_sigterm_answers_what_has_come_and_ends_in_silence(
    served: tuple[subprocess.Popen[str], str, str, list[str]],
) -> None:
    process, url, model, lines = served
    beyond = [int(port) for port in re.findall(r"(\d+) \(", lines[-1])]
    mine = psutil.Process(process.pid).children(recursive=True)
    heard = {
        connection.laddr.port
        for each in mine
        for connection in each.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and connection.laddr.ip in ("0.0.0.0", "::")
    }
    assert heard == set(beyond), "each is told"
    assert not [each.name() for each in mine if each.name() in ("gcs_server", "raylet") and _listens_beyond(each)]

    predictor = Predictor.load(model)
    picture = predictor.model.task.inputs["image"].example(torch.Generator().manual_seed(0))
    question = {"image": base64.b64encode(picture).decode()}
    right = predictor([{"image": picture}])[0]
    assert httpx.post(f"{url}/predict", json=question, timeout=60).json() == right
    (replica,) = [each for each in mine if "ServeReplica:sensorium:model-clip" in " ".join(each.cmdline())]
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(httpx.post(f"{url}/predict", json=question, timeout=60)))
    replica.suspend()  # so that it is under way for as long as the test likes
    try:
        asking.start()
        time.sleep(1)
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        time.sleep(3)
        with contextlib.suppress(httpx.TransportError):
            assert httpx.post(f"{url}/predict", json=question, timeout=5).status_code == 503
    finally:
        replica.resume()
    asking.join(30)
    assert [(answer.status_code, answer.json()) for answer in answers] == [(200, right)]
    rest, _ = process.communicate(timeout=60)
    assert time.monotonic() - began < 30
    assert process.returncode == 0
    assert rest == ""
    assert not [each for each in mine if each.is_running() and each.status() != psutil.STATUS_ZOMBIE and _is_rays(each)]


def _listens_beyond(process: psutil.Process) -> bool:
    ours = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
    return any(c.status == psutil.CONN_LISTEN and c.laddr.ip not in ours for c in process.net_connections("tcp"))


def _is_rays(process: psutil.Process) -> bool:
    return process.name() in ("raylet", "gcs_server", "haproxy") and os.getpgid(process.pid) >= 0
