"""Nothing leaks: what stays here when a job is sent, what is written down nowhere, what answers do not tell.

A row is what somebody would like to see, and must not; a new one joins the table of its kind with a line.
"""

from __future__ import annotations

import http.server
import json
import logging
import re
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from asked import CANARY, GOOD, KEY, check_goes_on, echo, guarded, send
from starlette.testclient import TestClient

from command import call
from sensorium import secrets
from sensorium.assembly.loading import load
from sensorium.errors import UserError
from sensorium.runtime import connection, laptop, working_dir
from sensorium.runtime.description import Node, Ports
from sensorium.runtime.serve_run import called, document
from sensorium.serving.application import application
from sensorium.serving.settings import KEY as VARIABLE
from sensorium.serving.settings import check, digest, key_from_environment
from sensorium.tracking.uri import default_uri, whole

# ---------------------------------------------------------------------------------- what travels with a job

STAY = (
    *(".ssh/id_rsa", ".ssh/config", ".ssh/known_hosts", ".aws/credentials", ".aws/config", ".azure/accessTokens.json"),
    *(".gnupg/secring.gpg", ".kube/config", ".docker/config.json", ".netrc", "_netrc", ".git-credentials", ".pypirc"),
    *(".npmrc", ".pgpass", ".my.cnf", ".htpasswd", ".env", ".env.local", ".env.production", "prod.env", ".envrc"),
    *("id_rsa", "id_rsa.bak", "id_ed25519", "deep/down/id_ecdsa", "server.pem", "tls.key", "store.p12", "a.pfx"),
    *("keys.jks", "passwords.kdbx", "putty.ppk", "token", "token.txt", "hf_token", "api-token", "tokens.txt"),
    *("secrets.yaml", "secret.json", "credentials", "credentials.json", "client_secret_1.json", "kaggle.json"),
    *("my-service-account.json", ".databrickscfg", ".s3cfg", ".boto", "rclone.conf", "SERVER.PEM", ".SSH/ID_RSA"),
)
"""Names of files that look like secrets."""


def repository(folder: Path) -> None:
    git = ["git", "-C", str(folder), "-c", "user.name=A", "-c", "user.email=a@b.c"]
    for command in (["init", "-q"], ["add", "-f", "."], ["commit", "-qm", "all"]):
        subprocess.run([*git, *command], check=True, capture_output=True)


@pytest.mark.parametrize("under_git", [False, True], ids=["no git", "all in git"])
def test_submit_leaves_here_and_lists_what_looks_like_a_secret(tmp_path, under_git):
    work = tmp_path / "work"
    for name in (*STAY, "mine.py"):
        (work / name).parent.mkdir(parents=True, exist_ok=True)
        (work / name).write_text(CANARY)
    if under_git:
        repository(work)
    choice = working_dir.choose(work)
    assert {str(name) for name in choice.files} == {"mine.py"}
    assert {str(name) for name in choice.withheld} == {
        name for name in STAY if name != ".env"
    }  # which is known to stay


FORMS = {
    "an OpenSSH key": "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk",
    "a key of RSA": "-----BEGIN RSA PRIVATE KEY-----\nMIIE",
    "a locked key": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIE",
    "a service's account": '{"type": "service_account", "private_key": "x"}',
}


@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_submit_knows_a_key_by_its_form(tmp_path, content):
    (tmp_path / "notes.json").write_text(content)
    assert working_dir.choose(tmp_path).withheld == [Path("notes.json")]


OUTSIDE = {
    "a folder": lambda work, outside: (work / "data").symlink_to(outside),
    "a folder of the system": lambda work, outside: (work / "data").symlink_to("/etc"),
    "a file": lambda work, outside: (work / "notes.txt").symlink_to(outside / "notes.txt"),
    "a relative link": lambda work, outside: (work / "notes.txt").symlink_to("../outside/notes.txt"),
    "a link to a link": lambda work, outside: (
        (outside / "again").symlink_to("/etc"),
        (work / "data").symlink_to(outside / "again"),
    ),
    "a link below": lambda work, outside: (
        (work / "deep").mkdir(),
        (work / "deep" / "data").symlink_to(outside),
    ),
}


@pytest.mark.parametrize("lay", OUTSIDE.values(), ids=OUTSIDE)
@pytest.mark.parametrize("under_git", [False, True], ids=["no git", "in git"])
def test_submit_follows_no_link_outside(tmp_path, lay, under_git):
    work, outside = tmp_path / "work", tmp_path / "outside"
    work.mkdir()
    outside.mkdir()
    (outside / "notes.txt").write_text(CANARY)
    lay(work, outside)
    if under_git:
        repository(work)
    with pytest.raises(UserError, match="leads out of"):
        working_dir.choose(work)


def test_a_link_to_a_secret_stays(tmp_path):
    (tmp_path / ".netrc").write_text(CANARY)
    (tmp_path / "notes.txt").symlink_to(tmp_path / ".netrc")
    assert working_dir.choose(tmp_path).files == {}


# ---------------------------------------------------------------------------------- variables and addresses

VARIABLES = {
    "the server's key": ("SENSORIUM_API_KEY", CANARY),
    "a password of MLflow": ("MLFLOW_TRACKING_PASSWORD", CANARY),
    "a name of MLflow": ("MLFLOW_TRACKING_USERNAME", CANARY),
    "a token of MLflow": ("MLFLOW_TRACKING_TOKEN", CANARY),
    "a login of MLflow": ("MLFLOW_TRACKING_AUTH", CANARY),
    "a password in short": ("SENSORIUM_DB_PASS", CANARY),
    "a password in shorter": ("SENSORIUM_DB_PWD", CANARY),
    "a password in an address": ("MLFLOW_TRACKING_URI", f"postgresql://me:{CANARY}@db/m"),
    "a password in a second address": ("MLFLOW_REGISTRY_URI", f"http://me:{CANARY}@mlflow"),
    "a token in an address": ("MLFLOW_TRACKING_URI", f"https://{CANARY}@mlflow"),
    "a password as a parameter": ("MLFLOW_TRACKING_URI", f"mysql://db/m?password={CANARY}"),
    "a signature as a parameter": ("MLFLOW_ARTIFACT_LOCATION", f"https://m.example/c?sig={CANARY}"),
    "a token of Ray": ("RAY_AUTH_TOKEN", CANARY),
    "a key of a cloud": ("AWS_SECRET_ACCESS_KEY", CANARY),
    "a name of a cloud's key": ("AWS_ACCESS_KEY_ID", CANARY),
    "a token of a hub": ("HF_TOKEN", CANARY),
    "whatever else there is": ("EDITOR", CANARY),
}
"""What is secret -> a variable of the environment and its value."""


@pytest.mark.parametrize(("name", "value"), VARIABLES.values(), ids=VARIABLES)
def test_no_variable_that_is_secret_travels(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    assert CANARY not in str(working_dir.variables())
    assert CANARY not in str(connection.variables())


ADDRESSES = (
    *(f"https://me:{CANARY}@m", f"https://{CANARY}@m", f"HTTPS://ME:{CANARY}@M", f"http://:{CANARY}@m:5000/path"),
    *(f"mysql://me:{CANARY}@m", f"mysql+pymysql://me:{CANARY}@m/d", f"postgresql://me:a/{CANARY}@db/m"),
    *(
        f"mssql://me:{CANARY}@m?driver=x",
        f"mysql://m?password={CANARY}",
        f"postgresql://db/m?user=me&password={CANARY}",
    ),
    *(f"https://m?token={CANARY}", f"https://m?api_key={CANARY}", f"https://m?X-Amz-Signature={CANARY}"),
    *(f"https://m?access_token={CANARY}", f"https://m?a=1;passwd={CANARY}", f"https://m?client_secret={CANARY}"),
)
"""Addresses that hold a password."""


@pytest.mark.parametrize("uri", ADDRESSES)
def test_no_address_with_a_password_is_recorded(monkeypatch, tmp_path, uri):
    assert secrets.reveals(uri)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert CANARY not in default_uri()
    assert whole(default_uri()) == uri, "what MLflow is asked with"
    for given in (uri, default_uri()):
        with pytest.raises(UserError, match="holds a password") as caught:
            secrets.check_address(given, "An address in the command")
        assert CANARY not in str(caught.value)


COMMANDS = {
    "train": ("train", "clip", "training.epochs=0"),
    "train, by its option": ("train", "clip", "training.epochs=0", "tracking.uri=ADDRESS"),
    "tune": ("tune", "clip"),
    "models": ("models",),
    "doctor": ("doctor",),
    "predict": ("predict", "models:/tiny/1", "text=a"),
    "evaluate": ("evaluate", "models:/tiny@champion"),
    "serve": ("serve", "models:/tiny/1", "--write", "serve.yaml"),
    "submit": ("submit", "--dry-run", "--", "train", "clip"),
    "submit, by its option": ("submit", "--dry-run", "--", "train", "clip", "tracking.uri=ADDRESS"),
    "resume": ("train", "--resume", "nobody"),
}
"""Command -> its arguments; MLFLOW_TRACKING_URI holds a password."""


@pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS)
def test_no_command_writes_a_password_down(monkeypatch, tmp_path, caplog, arguments):
    address = f"postgresql://me:{CANARY}@127.0.0.1:9/m"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("SENSORIUM_TRACKING_URI", "")
    if "tracking.uri=ADDRESS" in arguments:
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    else:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with caplog.at_level(logging.DEBUG, "sensorium"):
        answer = call(*(argument.replace("ADDRESS", address) for argument in arguments))
    assert answer.status or arguments[0] in ("serve", "submit"), "which ask nobody here"
    assert CANARY not in answer.out + answer.err + caplog.text
    for path in tmp_path.rglob("*"):
        assert not path.is_file() or CANARY.encode() not in path.read_bytes(), path


def test_a_clusters_token_is_on_no_command_line(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    cluster = laptop.Cluster("toy", "toy-1f", Ports(), tmp_path, {"head": laptop.Member(Node(), "127.0.0.2", [])})
    cluster.token.parent.mkdir(parents=True)
    cluster.token.write_text(CANARY)
    shown = [cluster._variables("head", cluster.members["head"])]
    shown += [cluster._command(name, laptop.Member(Node(), "127.0.0.3", [])) for name in ("head", "node1")]
    assert CANARY not in json.dumps(shown)


def test_the_servers_key_is_kept_as_a_digest_alone(monkeypatch):
    monkeypatch.setenv(VARIABLE, key := CANARY * 2)
    settings = check({"models": {"a": {"model": "m"}}, "key": key_from_environment()})
    assert CANARY not in repr(settings) + settings.model_dump_json()
    assert digest(key) not in json.dumps(document(settings, "0.0.0.0", 8000)), "a file for `serve deploy` holds neither"
    assert called(settings, "0.0.0.0").key == digest(key)


def test_a_token_does_not_follow_a_redirect():
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_response(int(self.path[1:4]))
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        for status in (301, 302, 303, 307, 308):
            address = f"http://127.0.0.1:{server.server_port}/{status}"
            request = urllib.request.Request(address, headers={"Authorization": f"Bearer {CANARY}"})
            with pytest.raises(urllib.error.HTTPError):
                laptop.open_straight(request, 5)
        server.shutdown()
    assert seen == ["/301", "/302", "/303", "/307", "/308"]


# ---------------------------------------------------------------------------------- what answers tell


class Failing:
    """A model that fails with something that is nobody's business."""

    def __init__(self, error):
        self.error, self.model = error, echo.local()

    async def describe(self):
        return await self.model.describe()

    async def ask(self, example):
        raise self.error


FAILURES = {
    "a failure": ZeroDivisionError(CANARY),
    "a file that is not there": FileNotFoundError(2, "No such file", f"/home/{CANARY}/x"),
    "a lack of memory": MemoryError(CANARY),
    "a failure of the connection": ConnectionResetError(CANARY),
    "a failure of decoding": UnicodeDecodeError("utf-8", CANARY.encode(), 0, 1, CANARY),
    "a key that is missing": KeyError(CANARY),
    "a recursion": RecursionError(CANARY),
}


@pytest.mark.parametrize("error", FAILURES.values(), ids=FAILURES)
def test_a_failure_tells_nothing_but_that_it_is_one(error):
    with TestClient(application({"echo": Failing(error)}), raise_server_exceptions=False) as client:
        answer = client.post("/predict", json=GOOD)
    assert answer.status_code == 500
    assert answer.json()["error"]["wrong"] == "The server failed."
    assert CANARY not in answer.text + str(answer.headers)


@pytest.fixture(scope="module")
def client():
    with TestClient(guarded()) as client:
        yield client


@pytest.mark.parametrize("there", ["/etc/passwd", "/etc", "/proc/self/environ", __file__])
def test_an_answer_does_not_tell_whether_a_file_exists(client, there):
    def said(path):
        return send(client, "POST /predict", json={"picture": path}).text

    assert said(there) == said(re.sub("[a-z]", "q", there)), "one that is not there, of the same form"
    check_goes_on(client)


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/models/echo/page", "/openapi.json", "/models", "/healthz", "/metrics", "/nothing"]
)
def test_no_answer_holds_the_key_or_says_what_serves(client, path):
    answer = send(client, f"GET {path}")
    assert KEY not in answer.text
    assert digest(KEY) not in answer.text
    assert str(Path.cwd()) not in answer.text
    assert sys.prefix not in answer.text
    assert "access-control-allow-origin" not in answer.headers
    if answer.headers["content-type"].startswith("text/html"):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_an_experiment_that_is_shown_holds_no_password(monkeypatch):
    monkeypatch.setenv("SENSORIUM_TRACKING_URI", "")
    assert load("clip", [f"tracking.uri={ADDRESSES[0]}"]).plain()["tracking"]["uri"] == "https://***@m"
