"""Searches on a real Ray: trials as runs of their own, stopped, copied, interrupted, and gone on with."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sensorium.assembly.loading import load
from sensorium.runtime.tune import search
from sensorium.training.session import started as training
from sensorium.tuning.session import Tuning, resumed, started

pytestmark = [pytest.mark.ray, pytest.mark.cluster, pytest.mark.timeout(600)]
HERE = Path(__file__).parent
LR = {"training.optimizer.lr": {"log_uniform": [1e-4, 1e-1]}}


@pytest.fixture(scope="module")
def cluster(plugin: None) -> Iterator[None]:
    """A Ray of this machine with three CPUs: one too few for two trials of two workers."""
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    import ray

    ray.init(address="local", num_cpus=3, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.fixture
def line(tmp_path: Path, store: str, plugin: None) -> Callable[..., list[str]]:
    """Returns the arguments of a search of the regression task."""

    def arguments(*more: str, **search: Any) -> list[str]:
        from faulty import Line

        file = tmp_path / "line.json"
        given = {"space": LR, "metric": "error", "mode": "min", "trials": 3, **search}
        file.write_text(json.dumps({"task": "line", **Line.experiment, "search": given}))
        options = [f"run.storage={tmp_path}", f"tracking.uri={store}", "tracking.system=false", "dataset.holdout=0.25"]
        return [str(file), *options, "run.threads=1", *more]

    return arguments


def begun(arguments: list[str]) -> Tuning:
    return started(arguments[0], arguments[1:])


def children(store: str, parent: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{parent}'")


def test_random_trials_are_runs_and_the_best_can_be_trained(line: Any, cluster: None, store: str) -> None:
    from mlflow import MlflowClient

    tuning = begun(line())
    told: list[int] = []
    result = tuning.search(search, tell=lambda trial: told.append(trial.number))
    assert sorted(told) == [0, 1, 2]
    rows = {row["trial"]: row for row in result["trials"]}
    assert [row["status"] for row in rows.values()] == ["finished"] * 3
    errors = {number: row["metric"] for number, row in rows.items()}
    assert result["best"]["trial"] == min(errors, key=errors.__getitem__)
    rates = {number: row["parameters"]["training.optimizer.lr"] for number, row in rows.items()}
    assert rates == {n: tuning.trials.search.draw(0, n)["training.optimizer.lr"] for n in range(3)}

    folder = Path(result["folder"])
    best = load(result["best"]["experiment"]).experiment
    assert best.training.optimizer.lr == rates[result["best"]["trial"]]
    assert best.evaluation.split == "test", "trials were judged by the validation split, the best one is not"
    assert (folder / "trials.png").read_bytes().startswith(b"\x89PNG")
    assert not (folder / "ray").exists()

    runs = children(store, result["run_id"])
    assert {run.info.run_name for run in runs} == {row["run"] for row in rows.values()}
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        row = next(row for row in rows.values() if row["run"] == run.info.run_name)
        assert row["run_id"] == run.info.run_id
        assert run.data.metrics["validation/error"] == pytest.approx(row["metric"])
        assert float(run.data.params["training.optimizer.lr"]) == rates[row["trial"]]
        assert "test/error" not in run.data.metrics, "the test split stays unseen"
    client = MlflowClient(store)
    parent = client.get_run(result["run_id"])
    assert (parent.info.status, parent.data.metrics["best/error"]) == ("FINISHED", result["best"]["metric"])
    names = {artifact.path for artifact in client.list_artifacts(result["run_id"])}
    assert names >= {"best.yaml", "trials.json", "trials.png", "parameters.png", "experiment.yaml"}

    done = training(result["best"]["experiment"], ["training.epochs=1"]).train()
    assert "error" in done["metrics"]


def test_trials_of_two_workers_on_three_cpus_wait_for_one_another(line: Any, cluster: None, store: str) -> None:
    """Two at a time would hold a CPU and a half each, for ever."""
    tuning = begun(line("run.workers=2", "training.epochs=2", "evaluation.epochs=1", trials=2))
    result = tuning.search(search)
    assert [row["status"] for row in result["trials"]] == ["finished"] * 2
    (first, second) = (tuning.trials.all[number].history for number in range(2))
    assert [epoch for _, epoch, _ in first] == [1, 2]
    assert second[0][0] > first[-1][0], "one after the other"
    assert {run.info.status for run in children(store, result["run_id"])} == {"FINISHED"}


def test_asha_stops_the_worse_and_says_so(line: Any, cluster: None, store: str) -> None:
    tuning = begun(line("training.epochs=9", "training.schedule.name=constant", trials=5, method="asha", concurrent=2))
    result = tuning.search(search)
    rows = {row["trial"]: row for row in result["trials"]}
    stopped = [number for number, row in rows.items() if row["status"] == "stopped"]
    finished = [number for number, row in rows.items() if row["status"] == "finished"]
    assert stopped
    assert len(stopped) + len(finished) == 5
    assert all(rows[number]["epoch"] < 9 for number in stopped)
    assert all(rows[number]["epoch"] == 9 for number in finished)
    status = {run.info.run_name: run.info.status for run in children(store, result["run_id"])}
    assert all(status[rows[number]["run"]] == "KILLED" for number in stopped)
    assert all(status[rows[number]["run"]] == "FINISHED" for number in finished)


def test_optuna_asks_for_better_ones(line: Any, cluster: None) -> None:
    pytest.importorskip("optuna")
    space = {**LR, "model.dropout": {"choice": [0.0, 0.1]}}
    result = begun(line(trials=4, method="optuna", concurrent=1, space=space)).search(search)
    assert [row["status"] for row in result["trials"]] == ["finished"] * 4
    for row in result["trials"]:
        assert 1e-4 <= row["parameters"]["training.optimizer.lr"] <= 1e-1
        assert row["parameters"]["model.dropout"] in (0.0, 0.1)


def test_a_population_goes_on_from_copies_of_its_best(
    line: Any, cluster: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Learning rates a thousand times apart: the worse trial takes over the better one's weights."""
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"slow": 0.1}))  # so that both train at the same time
    monkeypatch.setenv("SENSORIUM_TEST_FAULTS", str(plan))
    tuning = begun(line("training.epochs=8", "training.schedule.name=constant", trials=2, method="pbt"))
    tuning.trials.draw = lambda number: {"training.optimizer.lr": (1e-4, 1e-1)[number]}  # type: ignore[method-assign]
    result = tuning.search(search)
    rows = {row["trial"]: row for row in result["trials"]}
    assert [row["status"] for row in rows.values()] == ["finished"] * 2
    assert rows[0]["copies"], "trial 0 learns nothing by itself"
    assert all(donor == 1 for _, donor in rows[0]["copies"])
    assert rows[0]["parameters"]["training.optimizer.lr"] > 1e-3
    assert rows[0]["metric"] < 0.5 * tuning.trials.all[0].history[0][2]


def test_a_mistake_in_a_trial_is_a_failed_trial_with_its_sentence(line: Any, cluster: None, store: str) -> None:
    from sensorium.errors import SensoriumError

    tuning = begun(line(metric="eror", trials=2))
    with pytest.raises(SensoriumError, match=r"No trial reached an evaluation; trial 0: There is no metric 'eror'"):
        tuning.search(search)
    parent = next(iter({run.data.tags["mlflow.parentRunId"] for run in all_of(store, tuning.run.name)}))
    assert {run.info.status for run in children(store, parent)} == {"FAILED"}


def all_of(store: str, name: str) -> list[Any]:
    from mlflow import MlflowClient

    client = MlflowClient(store)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return [
        run
        for run in client.search_runs(experiments, "tags.`mlflow.parentRunId` != ''")
        if run.info.run_name.startswith(name)
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_search_goes_on_without_repeating(
    number: signal.Signals, line: Any, cluster: None, store: str, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"slow": 0.1}))
    arguments = line(trials=3, concurrent=1)
    variables = {**os.environ, "SENSORIUM_TEST_FAULTS": str(plan), "RAY_ADDRESS": ""}
    import ray

    address = ray.get_runtime_context().gcs_address
    command = [sys.executable, "-m", "sensorium.cli", "tune", *arguments, "--address", address]
    process = subprocess.Popen(command, env=variables, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        (folder,) = wait(lambda: list(tmp_path.glob("line-search-*")))
        wait(lambda: (folder / "trials.json").exists() and "finished" in (folder / "trials.json").read_text())
        wait(lambda: list((folder / f"{folder.name}-001" / "checkpoints").glob("step-*")))
        process.send_signal(number)
        _, said = process.communicate(timeout=120)
    finally:
        process.kill()
    if number == signal.SIGINT:
        assert process.returncode == 130, said
        assert f"Stopped. Resume with `sensorium tune --resume {folder.name}" in said
    before = json.loads((folder / "trials.json").read_text())["trials"]
    assert before[0]["status"] == "finished"

    tuning = resumed(folder.name, [f"run.storage={tmp_path}"])
    assert tuning.trials.left()[0] > 0
    result = tuning.search(search)
    rows = {row["trial"]: row for row in result["trials"]}
    assert [row["status"] for row in rows.values()] == ["finished"] * 3
    assert tuning.trials.all[0].history == [tuple(point) for point in before[0]["history"]], "not done again"
    runs = children(store, result["run_id"])
    assert len(runs) == 3, "each trial has one record"
    assert {run.info.status for run in runs} == {"FINISHED"}


def wait(condition: Callable[[], Any], seconds: float = 180.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it does not come to that"
        time.sleep(0.2)
    return found


def test_a_ray_that_is_started_here_knows_which_trials_are_gone(tmp_path: Path) -> None:
    """Ray Train asks Ray's state for them; without an answer the cores of a stopped trial stay taken."""
    script = (
        "from sensorium.plugins import Plugins; from sensorium.runtime.connection import connect\n"
        "connect(None, Plugins(), log=False)\n"
        "from ray import get_runtime_context\n"
        "from ray.util.state import list_actors\n"
        "print(list_actors(get_runtime_context().gcs_address))"  # another Ray may run on this machine
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
