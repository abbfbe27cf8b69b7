"""A password that is given in each way there is, and looked for wherever something is written or shown."""

import os
import subprocess
from urllib.parse import quote

import pytest

from sensorium.tracking import uri as uris

CANARY = "canary-7c1f"
TOY = (
    "plugins=[toys]",
    *("training.epochs=2", "run.threads=0", "tracking.register=toy", "tracking.system=false"),
)


@pytest.fixture
def commands(monkeypatch):
    """The command lines of all processes that are started."""
    found = []
    start = subprocess.Popen.__init__

    def noted(self, args, *rest, **options):
        found.append(repr(args))
        start(self, args, *rest, **options)

    monkeypatch.setattr(subprocess.Popen, "__init__", noted)
    return found


def test_a_password_is_found_nowhere(tmp_path, monkeypatch, sensorium, commands):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sensorium.tracking.recorder.EVERY", 0.1)
    address = f"sqlite:///file:{quote(str(tmp_path))}/mlflow.db?uri=true&password={CANARY}"
    for name in (uris.VARIABLE, uris.CONFIDED):
        monkeypatch.setenv(name, "")
    for name in ("MLFLOW_TRACKING_PASSWORD", "SENSORIUM_API_KEY", "RAY_AUTH_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    monkeypatch.setenv(uris.VARIABLE, address)
    answers = [sensorium("train", "toy_regression", *TOY), sensorium("doctor"), sensorium("models")]
    assert answers[0].status == 0, answers[0].err
    (run,) = (tmp_path / "runs").iterdir()
    monkeypatch.setenv(uris.VARIABLE, "")
    given = f"tracking.uri={address}"
    answers += [
        sensorium("train", "--resume", run.name, given),
        sensorium("show", "toy_regression", "plugins=[toys]", given),
        sensorium("train", "toy_regression", *TOY, given, "training.epochs=many"),
        sensorium("train", "toy_regression", *TOY, f"tracking.uri=ftp://me:{CANARY}@h"),
    ]
    assert [answer.status for answer in answers[3:]] == [0, 0, 2, 2], answers
    shown = "".join(answer.out + answer.err for answer in answers) + "".join(commands)
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"mlflow.db", "run.json", "experiment.yaml"} <= {path.name for path in written}
    assert CANARY not in shown
    assert "password=***" in shown
    assert [path for path in written if CANARY in str(path) or CANARY.encode() in path.read_bytes()] == []
    assert any("sensorium.tracking.launch" in command for command in commands), "the writer is a process of its own"
    assert CANARY in os.environ[uris.CONFIDED], "where those that are started find it"
