"""The training's side of the record: it never waits, and says at the end what could not be written."""

import json
import sys
import threading
import time

import pytest
import torch
from mlflow.utils.validation import _validate_metric_name

from sensorium import Evaluation, Outcome, Run, SensoriumError, Step
from sensorium.tracking import recorder


def stub(folder, monkeypatch, code):
    """Puts another program in the place of the writer."""
    (folder / "stub_launch.py").write_text(f"import os, sys\nos.fork() and os._exit(0)\n{code}")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr(recorder, "_LAUNCH", "stub_launch")


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Begins a record whose writer is a stub that keeps what it is told; returns it and what was told."""
    monkeypatch.setattr(recorder, "EVERY", 0.02)
    told = tmp_path / "told.jsonl"

    def begin(end="print('done')", **tracking):
        stub(tmp_path, monkeypatch, f"open({str(told)!r}, 'w').write(sys.stdin.read()); {end}")
        run = Run(name="run", folder="x", experiment={}, seed=0, tracking={"uri": "sqlite:///x.db", **tracking})
        return recorder.Recorder(run), lambda: [json.loads(line) for line in told.read_text().splitlines()]

    return begin


def step(number):
    return Step(
        number=number,
        stage="train",
        epoch=0,
        losses={"main/a": torch.tensor(float(number)), "main/b": torch.tensor(0.5)},
        learning_rates={"main": 0.1 * number},
        ids=["x"],
        samples=1,
    )


def test_steps_evaluations_and_the_end_are_told(record):
    kept, told = record()
    for number in (1, 2, 3):
        kept.step(step(number))
    kept.evaluation(Evaluation(3, "test", {"accuracy": 0.25}, {"a.png": b"\0\1"}))
    kept.finish(Outcome("finished"))
    first, *messages = told()
    assert first["run"]["name"] == "run"
    points = [tuple(point) for message in messages for point in message.get("points", ())]
    assert [(name, value, number) for name, value, _, number in points if name == "train/main/a"] == [
        ("train/main/a", 1.0, 1),
        ("train/main/a", 2.0, 2),
        ("train/main/a", 3.0, 3),
    ]
    assert {name for name, *_ in points} == {"train/main/a", "train/main/b", "learning_rate/main", "test/accuracy"}
    assert all(abs(when - time.time()) < 60 for _, _, when, _ in points)
    assert [m for m in messages if "picture" in m] == [{"picture": "plots/test/step-00000003/a.png", "png": "AAE="}]
    assert messages[-1] == {"finish": "finished", "error": ""}


def test_names_that_mlflow_refuses_are_told_without_their_signs(record):
    kept, told = record()
    kept.evaluation(Evaluation(1, "test", {"accuracy_what's?": 0.5, "accuracy_yes/no": 0.25}, {}))
    kept.finish(Outcome("finished"))
    names = {point[0] for message in told() for point in message.get("points", ())}
    assert sorted(name[:21] for name in names) == ["test/accuracy_what_s_", "test/accuracy_yes/no"]
    for name in names:
        _validate_metric_name(name)


def test_steps_may_be_recorded_less_often(record):
    kept, told = record(every=3)
    for number in range(1, 10):
        kept.step(step(number))
    kept.finish(Outcome("finished"))
    numbers = {point[3] for message in told() for point in message.get("points", ())}
    assert numbers == {3, 6, 9}


def test_steps_until_a_checkpoint_are_handed_on_at_once(record, monkeypatch):
    kept, told = record()
    monkeypatch.setattr(recorder, "EVERY", 60.0)
    kept.step(step(1))
    time.sleep(0.1)  # a turn of the old length ends
    kept.step(step(2))
    kept.flush()
    kept.step(step(3))
    kept.finish(Outcome("finished"))
    batches = [{point[3] for point in message["points"]} for message in told() if "points" in message]
    assert batches[-2:] in ([{2}, {3}], [{1, 2}, {3}])


def test_lines_of_two_threads_do_not_mix(record):
    kept, told = record()
    png = bytes(300_000)
    painting = threading.Thread(
        target=lambda: [kept.evaluation(Evaluation(n, "test", {}, {"a.png": png})) for n in range(20)]
    )
    painting.start()
    for number in range(1, 2001):
        kept.step(step(number))
        if number % 50 == 0:
            kept.flush()
    painting.join()
    kept.finish(Outcome("finished"))
    messages = told()
    assert sum("picture" in message for message in messages) == 20
    steps = [point[3] for message in messages for point in message.get("points", ()) if point[0] == "train/main/a"]
    assert sorted(steps) == list(range(1, 2001))


def test_a_step_costs_microseconds(record):
    kept, _ = record()
    some = step(1)
    started = time.perf_counter()
    for _ in range(1000):
        kept.step(some)
    assert (time.perf_counter() - started) / 1000 < 1e-3
    kept.finish(Outcome("finished"))


def test_what_could_not_be_written_is_told_at_the_end(record):
    kept, _ = record("print('MlflowException: the store is away')")
    with pytest.raises(
        SensoriumError, match="The record of run is not complete: MlflowException: the store is away"
    ) as e:
        kept.finish(Outcome("finished"))
    assert "sqlite:///x.db" in e.value.expected
    assert "whole" in e.value.hint


def test_a_writer_that_was_killed_is_told(record):
    kept, _ = record("os.kill(os.getpid(), 9)")
    with pytest.raises(SensoriumError, match="its writer was killed"):
        kept.finish(Outcome("finished"))


def test_what_libraries_print_does_no_harm(record):
    kept, _ = record("print('View run at http://x'); print('done')")
    kept.finish(Outcome("finished"))


def test_a_failure_of_the_training_does_not_wait_for_the_record(record):
    kept, _ = record("import time; time.sleep(20)")
    started = time.perf_counter()
    kept.finish(Outcome("failed", error="x"))
    assert time.perf_counter() - started < 10


def test_a_writer_that_gave_up_does_not_stop_the_training(tmp_path, monkeypatch):
    monkeypatch.setattr(recorder, "EVERY", 0.01)
    stub(tmp_path, monkeypatch, "print('refused')")
    kept = recorder.Recorder(Run(name="run", folder="x", experiment={}, seed=0, tracking={"uri": "sqlite:///x.db"}))
    for number in range(20):
        kept.step(step(number))
        time.sleep(0.005)
    with pytest.raises(SensoriumError, match="not complete: refused"):
        kept.finish(Outcome("finished"))


def test_the_writer_outlives_a_killed_training(trained, tmp_path):
    """Ray ends the children of a worker that it gives up: what was measured until then is written all the same."""
    import os
    import signal
    import subprocess

    from mlflow import MlflowClient

    program = f"""
import time
from sensorium import Run, Step
from sensorium.tracking import recorder
recorder.EVERY = 0.02
tracking = {{"uri": {trained.uri!r}, "experiment": "killed"}}
kept = recorder.Recorder(Run(name="killed", folder="x", experiment={{}}, seed=0, tracking=tracking))
loss = {{"a": 1.0}}
for n in range(1, 51):
    kept.step(Step(number=n, stage="s", epoch=0, losses=loss, learning_rates={{}}, ids=[], samples=1))
time.sleep(0.5)
print("ready", flush=True)
time.sleep(60)
"""
    training = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    assert training.stdout.readline() == "ready\n"
    os.killpg(training.pid, signal.SIGKILL)
    training.wait()
    training.stdout.close()
    client = MlflowClient(trained.uri)
    until = time.monotonic() + 60
    steps = []
    while len(steps) < 50 and time.monotonic() < until:
        time.sleep(0.2)
        experiment = client.get_experiment_by_name("killed")
        found = client.search_runs([experiment.experiment_id]) if experiment else []
        if found:
            steps = [point.step for point in client.get_metric_history(found[0].info.run_id, "train/a")]
    assert sorted(steps) == list(range(1, 51))
    assert found[0].info.status == "RUNNING"
