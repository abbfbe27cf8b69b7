"""Attacks on what leaves this machine and on what is read from it: one row each, with what is expected."""

import http.server
import json
import threading
import urllib.error
import urllib.request
from functools import partial
from pathlib import Path

import pytest

from sensorium.engine.checkpoint import MANIFEST, open_checkpoint
from sensorium.errors import UserError
from sensorium.runtime import laptop, working_dir
from sensorium.tracking import lock
from sensorium.tracking.models import fetch
from sensorium.tracking.uri import check_uri, default_uri

CANARY = "canary-7c1f"
ATTACKS = {}
"""What is tried -> a function of a scratch folder and monkeypatch that fails if it succeeds."""


def attack(name):
    def register(function):
        ATTACKS[name] = function
        return function

    return register


@attack("a lock laid as a link truncates nothing")
def _(folder, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    victim = folder / "victim"
    victim.write_text(CANARY)
    lock.lock_file("store").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), lock.alone("store"):
        pass
    assert victim.read_text() == CANARY


@attack("locks lie in a folder that nobody else can write to")
def _(folder, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    place = lock.lock_file("store").parent
    assert place.stat().st_mode & 0o777 == 0o700
    place.chmod(0o777)
    with pytest.raises(UserError, match="Others can write"):
        lock.lock_file("store")


@attack("a redirect gets no token")
def _(folder, monkeypatch):
    seen = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append((self.path, self.headers.get("Authorization")))
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/elsewhere")
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}/api/version"
        request = urllib.request.Request(address, headers={"Authorization": f"Bearer {CANARY}"})
        with pytest.raises(urllib.error.HTTPError):
            laptop.open_straight(request, 5)
        server.shutdown()
    assert [path for path, _ in seen] == ["/api/version"]


@attack("a link in a model's folder is not followed")
def _(folder, monkeypatch):
    (folder / "secret.json").write_text("{}")
    model = folder / "model"
    model.mkdir()
    (model / "state.json").symlink_to(folder / "secret.json")
    (model / MANIFEST).write_text(json.dumps({"sha256": {"state.json": ""}}))
    for read in (lambda: open_checkpoint(model), lambda: fetch(f"file://{model}")):
        with pytest.raises(UserError, match="is a link, and none is followed"):
            read()


def _stays(name, folder, monkeypatch):
    work = folder / "work"
    (work / name).parent.mkdir(parents=True)
    (work / name).write_text(CANARY)
    choice = working_dir.choose(work)
    assert choice.files == {}
    assert choice.withheld == [Path(name)]


for _name in (".ssh/id_rsa", ".aws/credentials", ".netrc", ".git-credentials", "server.pem", ".env.production"):
    ATTACKS[f"submit does not send {_name}"] = partial(_stays, _name)


@attack("submit follows no link outside")
def _(folder, monkeypatch):
    work = folder / "work"
    work.mkdir()
    (work / "data").symlink_to("/etc")
    with pytest.raises(UserError, match="leads out of"):
        working_dir.choose(work)


def _reveals_nothing(uri, folder, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert CANARY not in str(working_dir.variables())
    for read in (default_uri, lambda: check_uri(uri)):
        with pytest.raises(UserError, match="holds a password") as caught:
            read()
        assert CANARY not in str(caught.value)


for _uri in (f"https://me:{CANARY}@m", f"https://{CANARY}@m", f"mysql://me:{CANARY}@m", f"mysql://m?password={CANARY}"):
    ATTACKS[f"no record takes {_uri}"] = partial(_reveals_nothing, _uri)


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name, tmp_path, monkeypatch):
    ATTACKS[name](tmp_path, monkeypatch)


def test_each_test_that_security_names_exists():
    root = Path(__file__).parents[2]
    named = [word for word in (root / "SECURITY.md").read_text().split("`") if word.startswith("tests/")]
    assert named
    for path, _, test in (word.partition("::") for word in named):
        text = (root / path).read_text()
        assert f"def {test}(" in text or f'"{test}"' in text, f"{path}::{test}"
