"""A real MLflow server that hangs, then is killed and started again: the training goes on, no point is lost."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from mlflow.exceptions import MlflowException
from server import Server

from sensorium import Step, hookimpl
from sensorium.assembly.loading import load
from sensorium.inference.predictor import evaluate
from sensorium.plugins import Plugins
from sensorium.tracking import records
from sensorium.tracking.models import fetch
from sensorium.training.session import started

STEPS = 60
WAITED = 5
"""Seconds for which the record waits for an answer."""
HUNG = 7.0
"""Seconds for which the server answers nothing: more than that."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server that answers."""
    made = Server(tmp_path)
    made.start()
    made.wait()
    yield made
    made.kill()


class Outage:
    """Has the server hang in the first half of a training, and be killed in the second."""

    def __init__(self, server: Server, name: str) -> None:
        self.server, self.name = server, name
        self.slowest = 0.0
        self.before: float | None = None
        self.hung = 0.0

    @hookimpl
    def sensorium_step_finished(self, step: Step) -> None:
        now = time.monotonic()
        if self.before is not None:
            self.slowest = max(self.slowest, now - self.before)
        if step.number == 10:
            self.wait_for_points()
            self.server.send(signal.SIGSTOP)
            self.hung = time.monotonic()
        elif step.number == 30:
            time.sleep(max(0.0, self.hung + HUNG - now))
            self.server.send(signal.SIGCONT)
        elif step.number == 40:
            self.server.kill()
        elif step.number == 55:
            self.server.start()
        time.sleep(0.1)
        self.before = time.monotonic()

    def wait_for_points(self) -> None:
        until = time.monotonic() + 120
        while time.monotonic() < until:
            with suppress(MlflowException):  # what a new server is asked first may take it longer than WAITED
                record = records.find(self.server.uri, self.name)
                if record is not None and records.histories(record):
                    return
            time.sleep(0.3)
        pytest.fail("nothing was written while the server was there")


def test_no_point_is_lost_while_the_server_is_away(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mlflow import MlflowClient

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", str(WAITED))
    options = ["plugins=[toys]", "training.epochs=15", f"tracking.uri={server.uri}", "tracking.register=points"]
    loaded = load("toy_regression", options, Plugins(["toys"]))
    Path("toy.json").write_text(json.dumps(loaded.plain()))
    session = started("toy.json", [])
    outage = Outage(server, session.run.name)
    session.assembly.loaded.plugins.manager.register(outage, "outage")

    result = session.train()

    assert outage.slowest < WAITED - 1, "the training waited for the server"
    client = MlflowClient(server.uri)
    for name in ("train/main/square", "train/main/off", "learning_rate/main"):
        steps = [point.step for point in client.get_metric_history(result["run_id"], name)]
        assert sorted(steps) == list(range(1, STEPS + 1)), name
    record = client.get_run(result["run_id"])
    assert record.info.status == "FINISHED"
    assert record.data.metrics["test/error"] == result["metrics"]["error"]
    assert record.data.params["training.epochs"] == "15"
    assert {item.path for item in client.list_artifacts(result["run_id"])} >= {"experiment.yaml", "plots"}
    machine = client.get_metric_history(result["run_id"], "system/cpu_utilization_percentage")
    assert sorted(point.step for point in machine) == list(range(len(machine)))
    assert len(machine) > HUNG / 5
    assert result["model_uri"] == "models:/points/1"
    assert dict(evaluate(fetch("models:/points/1")).metrics) == result["metrics"]
