"""Training on real Ray workers: the same result, also when workers are lost."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from recording import warm
from sensorium.engine.checkpoint import open_checkpoint
from sensorium.errors import SensoriumError, UserError
from sensorium.inference.predictor import Predictor
from sensorium.runtime.train import train as on_ray
from sensorium.training.session import Session, resumed, started

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def run(tmp_path: Path, store: str, plugin: None, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Starts a session of the regression task with faults."""

    def begin(name: str, workers: int, *overrides: str, **faults: Any) -> Session:
        ids = tmp_path / f"ids-{name}"
        ids.mkdir(exist_ok=True)
        plan = tmp_path / f"{name}.json"
        plan.write_text(json.dumps({"ids": str(ids), **faults}))
        monkeypatch.setenv("SENSORIUM_TEST_FAULTS", str(plan))
        options = [
            f"run.workers={workers}",
            f"run.storage={tmp_path}",
            f"tracking.uri={store}",
            "tracking.system=false",
        ]
        experiment = tmp_path / "line.json"
        from faulty import Line

        experiment.write_text(json.dumps({"task": "line", **Line.experiment}))
        return started(str(experiment), [*options, *overrides])

    return begin


def weights(result: dict[str, Any]) -> dict[str, torch.Tensor]:
    return open_checkpoint(result["model"]).tensors("model")


def ids_by_step(folder: Path) -> dict[int, Counter[str]]:
    steps: dict[int, Counter[str]] = {}
    for path in sorted(folder.glob("*of*.json")):
        steps.setdefault(int(path.name[:4]), Counter()).update(json.loads(path.read_text()))
    return steps


def recorded_steps(result: dict[str, Any], store: str) -> list[int]:
    from mlflow import MlflowClient

    points = MlflowClient(store).get_metric_history(result["run_id"], "train/main/square")
    return [point.step for point in points]


@pytest.mark.ray
def test_workers_change_nothing_and_lost_ones_neither(run: Any, cluster: None, tmp_path: Path, store: str) -> None:
    with warm():
        alone = run("alone", 1, "model.dropout=0").train()
    together = run("together", 2, "model.dropout=0").train(on_ray)
    for name, tensor in weights(alone).items():
        assert torch.allclose(tensor, weights(together)[name], rtol=1e-4, atol=1e-6), name
    assert ids_by_step(tmp_path / "ids-alone") == ids_by_step(tmp_path / "ids-together")
    assert together["metrics"]["count"] == 96
    assert recorded_steps(together, store) == list(range(1, 33))

    disturbed = run("disturbed", 2, "model.dropout=0", kill=[[1, 10]]).train(on_ray)
    for name, tensor in weights(together).items():
        assert torch.equal(tensor, weights(disturbed)[name]), name
    assert [path.name for path in (tmp_path / "ids-disturbed").glob("killed-*")] == ["killed-1-10"]
    assert ids_by_step(tmp_path / "ids-disturbed") == ids_by_step(tmp_path / "ids-together")
    assert recorded_steps(disturbed, store) == list(range(1, 33)), "each step once, in one record"
    answer = Predictor.load(disturbed["model"])([{"x": [1.0, 0.0, 0.0, 0.0]}])[0]["y"]
    assert math.isfinite(answer[0])


@pytest.mark.ray
def test_more_workers_than_the_cluster_has_are_refused_at_once(run: Any, cluster: None) -> None:
    session = run("many", 9, "training.global_batch=90")
    begin = time.monotonic()
    with pytest.raises(UserError, match="9 workers of 1 CPU each need 9 CPU; the cluster has 4"):
        session.train(on_ray)
    assert time.monotonic() - begin < 10


@pytest.mark.ray
@pytest.mark.cluster
def test_who_is_lost_while_it_writes_a_checkpoint_changes_nothing(
    run: Any, cluster: None, tmp_path: Path, store: str
) -> None:
    with warm():
        alone = run("alone", 1, "model.dropout=0").train()
    disturbed = run("disturbed", 2, "model.dropout=0", kill_writing=27).train(on_ray)
    assert [path.name for path in (tmp_path / "ids-disturbed").glob("killed-*")] == ["killed-writing"]
    for name, tensor in weights(alone).items():
        assert torch.allclose(tensor, weights(disturbed)[name], rtol=1e-4, atol=1e-6), name
    assert recorded_steps(disturbed, store) == list(range(1, 33)), "each step once, in one record"


@pytest.mark.ray
@pytest.mark.cluster
def test_a_loss_that_is_not_finite_is_not_tried_again(run: Any, cluster: None) -> None:
    session = run("poisoned", 2, poison="train7")
    with pytest.raises(SensoriumError, match=r"'main/square' is not finite at step \d+, for the samples train7\."):
        session.train(on_ray)


def test_a_finished_run_can_be_resumed_and_changes_nothing(run: Any, tmp_path: Path) -> None:
    with warm():
        first = run("first", 1).train()
        again = resumed(first["run"], [f"run.storage={tmp_path}"]).train()
    assert again["run_id"] == first["run_id"]
    for name, tensor in weights(first).items():
        assert torch.equal(tensor, weights(again)[name])
