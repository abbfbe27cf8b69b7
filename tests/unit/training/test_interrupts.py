"""Ctrl-C and SIGTERM end a training as the record, the shell and the user are to know it."""

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from conftest import TINY
from sensorium.engine.checkpoint import Store
from sensorium.tracking import records
from sensorium.training.interrupts import Terminated, as_interrupts, terminable


def wait(found, seconds=300.0):
    """Returns what a function returns, once it is true."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := found():
            return value
        time.sleep(0.1)
    raise AssertionError("it never came")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_training_says_how_to_resume_and_its_record_that_it_was_killed(number, tmp_path):
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    options = [*TINY, "training.epochs=100000", "tracking.system=false"]
    process = subprocess.Popen(
        [sys.executable, "-m", "sensorium.cli", "train", "clip", *options],
        env={**os.environ, "MLFLOW_TRACKING_URI": uri},
        cwd=tmp_path,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        wait(lambda: list(tmp_path.glob("runs/*/checkpoints/step-*/manifest.json")))
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    (folder,) = (tmp_path / "runs").iterdir()
    assert process.returncode == 128 + number, said
    assert f"Stopped. Resume with `sensorium train --resume {folder.name}`." in said
    assert "Traceback" not in said
    assert Store(f"{folder}/checkpoints").latest() is not None
    assert not (folder / "in-use.json").exists(), "others may resume it"
    record = wait(lambda: records.find(uri, folder.name))
    wait(lambda: record.client.get_run(record.run_id).info.status == "KILLED")


@pytest.mark.parametrize(
    "end", [KeyboardInterrupt, lambda: SystemExit(128 + signal.SIGTERM)], ids=["SIGINT", "SIGTERM"]
)
def test_on_ray_it_says_how_to_resume_before_ray_and_the_record_are_ended(end, sensorium, monkeypatch, tmp_path):
    import ray

    done = []

    @contextlib.contextmanager
    def joined(*_):
        try:
            yield
        finally:
            done.append(("ray", "Stopped. Resume with" in sys.stderr.getvalue()))

    class Trainer:
        def __init__(self, *_, **__):
            pass

        def fit(self):
            raise end()

    def ended(run, status, error=""):
        done.append((status, "Stopped. Resume with" in sys.stderr.getvalue()))

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0, "GPU": 2.0})
    monkeypatch.setattr("sensorium.runtime.train.joined", joined)
    monkeypatch.setattr("sensorium.runtime.internals.interruptible", lambda _: Trainer)
    monkeypatch.setattr("sensorium.tracking.models.end", ended)
    answer = sensorium("train", "clip", *TINY, "--workers", "2")
    assert answer.status in (130, 143)
    assert done == [("ray", True), ("KILLED", True)]
    assert answer.err.count("Stopped. Resume with `sensorium train --resume clip-") == 1


def test_sigterm_is_an_interrupt_for_a_while():
    before, cleaned = signal.getsignal(signal.SIGTERM), []
    with pytest.raises(SystemExit) as ended, terminable():  # noqa: PT012
        try:
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)
        except KeyboardInterrupt:
            cleaned.append(True)
            raise
    assert (ended.value.code, cleaned) == (143, [True])
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(("code", "kind"), [(0, KeyboardInterrupt), (15, Terminated), (143, Terminated)])
def test_a_library_that_ends_the_process_interrupts_it(code, kind):
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(kind), as_interrupts():  # noqa: PT012
        signal.signal(signal.SIGINT, lambda *_: None)
        sys.exit(code)
    assert signal.getsignal(signal.SIGINT) is before
