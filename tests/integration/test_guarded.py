"""A real MLflow server that asks for a password, stands below a path, and hands artifacts on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from server import Server

from command import call
from recording import warm

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

USER, PASSWORD = "ada", "a-long password+%"
QUOTED = "a-long%20password+%25"
FORMS = """
class CSRFProtect:
    def init_app(self, app):
        pass
"""
"""What MLflow's basic authentication wants of Flask-WTF, for its page that makes users, which nobody opens here."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    (folder / "flask_wtf").mkdir()
    (folder / "flask_wtf" / "__init__.py").write_text("")
    (folder / "flask_wtf" / "csrf.py").write_text(FORMS)
    (folder / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = NO_PERMISSIONS\n"
        f"database_uri = sqlite:///{folder}/auth.db\nadmin_username = {USER}\n"
    )
    variables = {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        "MLFLOW_AUTH_CONFIG_PATH": str(folder / "auth.ini"),
        "MLFLOW_AUTH_ADMIN_PASSWORD": PASSWORD,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "of a test",
    }
    made = Server(folder, "--app-name", "basic-auth", "--serve-artifacts", prefix="/team/mlflow", variables=variables)
    made.start()
    try:
        made.wait()
        yield made
    finally:
        made.kill()


@pytest.fixture
def address(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Works in a folder of its own; returns the address without a login."""
    monkeypatch.chdir(tmp_path)
    return server.uri.removeprefix("http://")


OPTIONS = ["training.epochs=1", "dataset.limit={train: 256, test: 64}", "tracking.register=guarded"]


def test_a_run_is_recorded_registered_and_asked_with_a_password(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{USER}:{QUOTED}@{address}")
    with warm():
        trained = call("train", "clip", "--json", *OPTIONS)
    assert trained.status == 0, trained.err
    assert trained.json["model_uri"] == "models:/guarded/1"
    evaluated = call("evaluate", "models:/guarded/1", "--json")
    assert evaluated.json["metrics"] == trained.json["metrics"]
    asked = call("predict", "models:/guarded/1", "text=one", "--json")
    assert asked.status == 0, asked.err
    again = call("train", f"runs:/{trained.json['run_id']}", "--json", "tracking.register=null")
    assert again.json["metrics"] == trained.json["metrics"]
    for answer in (trained, evaluated, asked, again):
        assert PASSWORD not in answer.out + answer.err
        assert QUOTED not in answer.out + answer.err


@pytest.mark.parametrize("login", ["", f"{USER}:wrong@"])
def test_a_wrong_password_is_told_in_a_sentence(login: str, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://{login}{address}")
    for words in (["train", "clip", *OPTIONS], ["evaluate", "models:/guarded/1"], ["train", "runs:/0123"]):
        answer = call(*words)
        assert answer.status != 0
        assert answer.err.count("\n") < 8, answer.err
        assert "refuses" in answer.err, answer.err
        assert "MLFLOW_TRACKING_URI" in answer.err
        assert "wrong@" not in answer.err
