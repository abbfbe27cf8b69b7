"""A run of which nothing is local: all lies in a bucket, whose server answers late and goes away."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from starlette.testclient import TestClient

from buckets import BUCKET, Proxy, bucket, forget
from command import call
from gloo import dead, together
from sensorium import Step, UserError, hookimpl
from sensorium.engine import storage
from sensorium.inference.bulk import plan
from sensorium.inference.index import Index, make
from sensorium.inference.predictor import Predictor, evaluate
from sensorium.serving.application import application
from sensorium.serving.served import Local, load
from sensorium.serving.settings import Limits
from sensorium.tracking.models import fetch
from training import train

COUNT = 8
STEPS = 6
FIELDS = "{image: image, text: text}"
OPTIONS = (
    f"dataset={{name: manifest, train: {BUCKET}/data/all.csv, test: {BUCKET}/data/all.csv, fields: {FIELDS}}}",
    "modalities={image: {name: image, size: 16, channels: 3}, text: {name: text, tokenizer: words, max_length: 8}}",
    "model={encoders: {image: {name: convnet, widths: [8, 8], dim: 16}, text: {name: text_transformer, dim: 16,"
    " depth: 1, heads: 2}}, fusion: {name: projection, dim: 16}, loss: {name: infonce}, metrics: [retrieval]}",
    "evaluation={contributions: false}",
    "training.epochs=3",
    "training.global_batch=4",
    "training.checkpoints={epochs: 1}",
    "run.threads=4",
)
LATE = 0.05
"""Seconds by which the server answers late."""
PATIENCE = 240.0
"""Seconds that a training may take."""


def fill() -> None:
    """Puts pictures with captions into the bucket."""
    files, random = fsspec.filesystem("s3"), np.random.default_rng(0)
    content = {"all.csv": b"image,text\n"}
    for number in range(COUNT):
        png = io.BytesIO()
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(png, "PNG")
        content[f"{number}.png"] = png.getvalue()
        content["all.csv"] += f"{number}.png,picture {number}\n".encode()
    for name, data in content.items():
        files.pipe_file(f"bucket/data/{name}", data)


@pytest.fixture
def server() -> Iterator[Proxy]:
    with bucket(LATE) as proxy:
        fill()
        yield proxy


def trained(folder: str) -> tuple[list[int], dict[str, torch.Tensor], dict[str, float]]:
    """Trains, or goes on, and returns the steps that were done, the weights and the metrics."""
    done = train("clip", folder, *OPTIONS)
    return [step.number for step in done.steps], done.weights(), dict(done.outcome.metrics)


def test_a_run_in_a_bucket_outlives_a_kill_and_a_server_that_goes_away(server: Proxy) -> None:
    undisturbed, _ = together(2, trained, f"{BUCKET}/undisturbed", seconds=PATIENCE)
    assert undisturbed[0] == list(range(1, STEPS + 1))
    read = [line for line in server.requests if line.startswith("GET /bucket/undisturbed/checkpoints")]
    assert read == [], "no checkpoint is read back"

    folder = f"{BUCKET}/disturbed"
    assert dead(2, killed, folder) == [-signal.SIGKILL] * 2
    server.outages = {f"disturbed/checkpoints/step-{STEPS:08d}/model": 3.0, "PUT /bucket/disturbed/model/model": 2.0}
    resumed, _ = together(2, trained, folder, seconds=PATIENCE)

    assert server.outages == {}, "the server went away"
    assert resumed[0] == [5, 6]
    assert all(torch.equal(tensor, undisturbed[1][name]) for name, tensor in resumed[1].items())
    assert resumed[2] == undisturbed[2]
    use(f"{folder}/model", resumed[2])


class Killer:
    """Ends each worker in the middle of the third epoch, when the second checkpoint is there."""

    @hookimpl
    def sensorium_step_finished(self, step: Step) -> None:
        if step.number == STEPS - 1:
            for thread in threading.enumerate():
                if thread.name == "checkpoint":
                    thread.join()
            os.kill(os.getpid(), signal.SIGKILL)


def killed(folder: str) -> None:
    train("clip", folder, *OPTIONS, events=lambda assembly: Killer())


@pytest.mark.ray
@pytest.mark.cluster
@pytest.mark.timeout(900)
def test_two_ray_workers_train_in_a_bucket_through_a_kill_and_an_outage(server: Proxy, tmp_path: Path) -> None:
    options = [*OPTIONS, f"run.storage={BUCKET}/runs", f"tracking.uri=sqlite:///{tmp_path}/mlflow.db"]

    def command(*arguments: str) -> subprocess.Popen[str]:
        words = [sys.executable, "-m", "sensorium.cli", *arguments]
        return subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True, start_new_session=True)

    training = command("train", "clip", "--workers", "2", "--json", *options)
    end = time.monotonic() + 400
    try:
        while not any(f"{STEPS - 2:08d}/manifest.json" in line for line in server.requests):
            assert training.poll() is None
            assert time.monotonic() < end, server.requests[-5:]
            time.sleep(0.02)
    finally:
        whole = psutil.Process(training.pid).children(recursive=True)  # workers that Ray would let finish a step
        for process in (training, *whole):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        training.wait()
    (run,) = fsspec.filesystem("s3").glob("bucket/runs/clip-*")  # Ray makes an object of its folder, too

    server.outages = {f"checkpoints/step-{STEPS:08d}/model": 20.0}
    resumed = command("train", "--resume", f"s3://{run}", "--json")
    told, _ = resumed.communicate(timeout=500)
    assert resumed.returncode == 0
    assert server.outages == {}, "the server went away"
    result = json.loads(told.splitlines()[-1])
    assert result["model"] == f"s3://{run}/model"
    answers = call("evaluate", result["model"], "--json")
    assert answers.json["metrics"] == pytest.approx(result["metrics"])
    use(result["model"], answers.json["metrics"])


def use(model: str, metrics: dict[str, float]) -> None:
    """Evaluates, asks, indexes and serves a model, by URIs alone."""
    local = fetch(model)
    assert dict(evaluate(local).metrics) == metrics
    predictor = Predictor.load(local)
    picture = f"{BUCKET}/data/3.png"
    answer = predictor.ask([f"image={picture}"])
    index = f"{BUCKET}/index"
    make(predictor, plan(model, predictor, f"image={BUCKET}/data/*.png", []), [], index)
    with pytest.raises(UserError, match="is there already"):
        make(predictor, plan(model, predictor, f"image={BUCKET}/data/*.png", []), [], index)
    served = Local(load(local, "clip/1", Limits(), 1))
    with TestClient(application({"clip": served}, indexes={"clip": Index(index)})) as client:
        data = fsspec.filesystem("s3").cat_file(picture)
        response = client.post("/predict", files={"image": data})
        assert response.status_code == 200
        assert response.json() == answer
        (hit,) = client.post("/search?k=1", files={"image": data}).json()["hits"]
        assert hit["id"].endswith("data/3.png")


def test_what_is_wrong_with_a_storage_is_told_at_once(server: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    storage.check(f"{BUCKET}/runs", "run.storage")
    with pytest.raises(UserError, match=r"cannot be reached: The specified bucket does not exist.*Check the bucket"):
        storage.check("s3://bukcet/runs", "run.storage")
    server.go_away()
    for use in (lambda: storage.check(f"{BUCKET}/runs", "run.storage"), lambda: fetch(f"{BUCKET}/runs/a/model")):
        with pytest.raises(UserError, match=r"The server of s3://bucket/runs.* cannot be reached.*Try again later"):
            use()
    with Refusing() as refusing:
        monkeypatch.setenv("AWS_ENDPOINT_URL", refusing)
        forget()
        for use in (lambda: storage.check(f"{BUCKET}/runs", "run.storage"), lambda: fetch(f"{BUCKET}/runs/a/model")):
            with pytest.raises(
                UserError, match=r"The credentials for s3://bucket/runs.* are refused.*Check which ones"
            ):
                use()


class Refusing:
    """A server that knows nobody's key, as S3 says it."""

    def __enter__(self) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                xml = b"<Error><Code>InvalidAccessKeyId</Code><Message>There is no such key.</Message></Error>"
                self.send_response(403)
                self.send_header("Content-Length", str(len(xml)))
                self.end_headers()
                self.wfile.write(xml)

            def log_message(self, *words: Any) -> None:
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
