"""Every task on a real Ray: an endpoint, which starts its own; two workers, one of them killed; a search."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
import torch
from shortened import shortened, tasks
from test_every_task import as_json, real_question

from sensorium.inference.predictor import Predictor
from sensorium.runtime.train import train as on_ray
from sensorium.runtime.tune import search
from sensorium.training.session import started as training
from sensorium.tuning.session import started as searching

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(1800)]
STEPS = 50  # time enough to kill one of its workers


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder that runs and records lie in."""
    folder = tmp_path_factory.mktemp("tasks")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        patch.setenv("OMP_NUM_THREADS", "1")
        torch.set_num_threads(1)  # as the workers have: other sums would round otherwise
        yield folder


@pytest.mark.parametrize("task", tasks())
def test_it_is_served_by_ray(task: str, place: Path) -> None:
    from sensorium.runtime.serve_run import running
    from sensorium.serving.settings import check

    model = training(task, shortened(task, STEPS)).train()["model"]
    predictor = Predictor.load(model)
    question = real_question(predictor, predictor.model.loaded.experiment.evaluation.finally_on[0])
    (right,) = predictor([question])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with running(check({"models": {task: {"model": model, "num_cpus": 0.5}}}), "127.0.0.1", port, None):
        answer = httpx.post(f"http://127.0.0.1:{port}/predict", json=as_json(question), timeout=120)
        assert answer.status_code == 200, answer.text
        assert answer.json() == json.loads(json.dumps(as_json(right)))
        assert httpx.get(f"http://127.0.0.1:{port}/", follow_redirects=True).status_code == 200


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray of this machine with room for four workers, for what follows."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    import ray

    ray.init(address="local", num_cpus=4, logging_level="ERROR")
    yield
    ray.shutdown()


def points(run: str) -> dict[str, dict[int, float]]:
    """Returns term -> step -> loss, as MLflow has them."""
    from mlflow import MlflowClient

    client = MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    names = [name for name in client.get_run(run).data.metrics if name.startswith("train/")]
    return {name: {p.step: p.value for p in client.get_metric_history(run, name)} for name in names}


@pytest.mark.parametrize("task", tasks())
def test_two_ray_workers_of_which_one_is_killed_have_the_losses_of_one(task: str, cluster: None, place: Path) -> None:
    options = shortened(task, STEPS, "training.checkpoints.steps=10")
    one = training(task, options).train()
    session = training(task, [*options, "run.workers=2"])
    killed = kill_a_worker_once(session.run.folder)
    two = session.train(on_ray)
    assert killed.is_set(), "no worker was killed"
    alone, together = points(one["run_id"]), points(two["run_id"])
    assert set(alone) == set(together)
    for name, values in alone.items():
        assert together[name] == pytest.approx(values, rel=1e-3, abs=1e-5), name


def kill_a_worker_once(folder: str) -> Any:
    """Kills a training process as soon as the run has a checkpoint; returns the event of it."""
    done = threading.Event()

    def look() -> None:
        until = time.monotonic() + 900
        while time.monotonic() < until:
            if list(Path(folder).glob("checkpoints/step-*/manifest.json")):
                own = psutil.Process().children(recursive=True)  # nobody else's
                workers = [process for process in own if "RayTrainWorker" in " ".join(process.cmdline())]
                if workers:
                    workers[0].send_signal(signal.SIGKILL)
                    done.set()
                    return
            time.sleep(0.05)

    threading.Thread(target=look, daemon=True).start()
    return done


@pytest.mark.parametrize("task", tasks())
def test_its_space_is_searched(task: str, cluster: None, place: Path) -> None:
    result = searching(
        task, [*shortened(task, 20, "dataset.limit.train=400"), "search.trials=3", "search.concurrent=1"]
    ).search(search)
    assert [row["status"] for row in result["trials"]] == ["finished"] * 3
    assert len({json.dumps(row["parameters"]) for row in result["trials"]}) == 3
