"""Nobody gets in: files of the server, other pages' requests, keys, foreign modules, links. A row is an attack.

A new one joins the table of its kind with a line; `SECURITY.md` says what is trusted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest
from asked import CANARY, GOOD, HOSTS, KEY, check_goes_on, check_refused, echo, guarded, hardly_trained, send
from starlette.testclient import TestClient

from command import call
from sensorium.engine.checkpoint import MANIFEST, open_checkpoint
from sensorium.errors import UserError
from sensorium.inference.index import Index
from sensorium.modules import ALLOW
from sensorium.runtime.serve_run import called, check_host
from sensorium.serving.settings import KEY as VARIABLE
from sensorium.serving.settings import check, key_from_environment
from sensorium.tracking import lock
from sensorium.tracking.models import fetch


@pytest.fixture(scope="module")
def client():
    with TestClient(guarded()) as client:
        yield client


@pytest.fixture
def secret(tmp_path):
    """A picture of the server's, which a model would take, and a link to it."""
    (tmp_path / "secret.png").write_bytes(echo.png(shade=7))
    (tmp_path / "link.png").symlink_to(tmp_path / "secret.png")
    return tmp_path


# ---------------------------------------------------------------------------------- files of the server

FILE = {"path": "FILE", "meta": {"_type": "gradio.FileData"}}
JOIN = {"data": [FILE], "fn_index": 0, "session_hash": "x"}
PART = b'--b\r\nContent-Disposition: form-data; name="picture"; filename="%s"\r\n\r\n%s\r\n--b--\r\n'
FORM = {"Content-Type": "multipart/form-data; boundary=b"}

FILES = {
    "the page's queue opens a file": ("POST /models/echo/page/gradio_api/queue/join", {"json": JOIN}, 404),
    "the page takes an upload": ("POST /models/echo/page/gradio_api/upload", {"files": {"files": b"x"}}, 404),
    "the page gives a file away": ("GET /models/echo/page/gradio_api/file=FILE", {}, 404),
    "the page gives a file of an older path away": ("GET /models/echo/page/file=FILE", {}, 404),
    "the page gives away by its own folder": ("GET /models/echo/page/../../../../etc/passwd", {}, 404),
    "the page is called from its API": ("POST /models/echo/page/gradio_api/call/predict", {"json": JOIN}, 404),
    "the page is posted to": ("POST /models/echo/page", {"json": JOIN}, 405),
    "dots that are coded": ("GET /%2e%2e/%2e%2e/etc/passwd", {}, 404),
    "slashes that are coded": ("GET /models/..%2f..%2f..%2fetc%2fpasswd/page", {}, 404),
    "a model that is a path": ("POST /models/%2Fetc%2Fpasswd/predict", {"json": GOOD}, 404),
    "a name with a zero": ("POST /models/echo%00/predict", {"json": GOOD}, 404),
    "a path as picture": ("POST /predict", {"json": {"picture": "FILE"}}, 422),
    "a link as picture": ("POST /predict", {"json": {"picture": "LINK"}}, 422),
    "an address of a file": ("POST /predict", {"json": {"picture": "file://FILE"}}, 422),
    "an address of a server": ("POST /predict", {"json": {"picture": "http://127.0.0.1/x.png"}}, 422),
    "an address of the cloud": ("POST /predict", {"json": {"picture": "s3://bucket/x.png"}}, 422),
    "an address of data": ("POST /predict", {"json": {"picture": f"data:image/png;base64,{GOOD['picture']}"}}, 422),
    "a file's name that is base64": ("POST /predict", {"json": {"picture": "abcd"}}, 422),
    "a device as picture": ("POST /predict", {"json": {"picture": "/dev/zero"}}, 422),
    "FileData as picture": ("POST /predict", {"json": {"picture": FILE}}, 422),
    "FileData in a list": ("POST /predict", {"json": {"picture": [FILE]}}, 422),
    "a path as sound": ("POST /predict", {"json": {**GOOD, "sound": "FILE"}}, 422),
    "a path and a time, as sound": ("POST /predict", {"json": {**GOOD, "sound": ["FILE", 8000]}}, 422),
    "a path as vector": ("POST /predict", {"json": {**GOOD, "numbers": "FILE"}}, 422),
    "a path deep in a vector": ("POST /predict", {"json": {**GOOD, "numbers": [{"a": ["FILE"]}]}}, 422),
    "FileData as vector": ("POST /predict", {"json": {**GOOD, "numbers": FILE}}, 422),
    "a path in a form": ("POST /predict", {"data": {"picture": "FILE"}, "files": {"words": (None, "one")}}, 422),
    "a path as the content of a file": ("POST /predict", {"files": {"picture": ("p.png", b"FILE", "image/png")}}, 422),
    "a path as a file's name": ("POST /predict", {"content": PART % (b"FILE", b""), "headers": FORM}, 422),
    "a picture that is a list of files": (
        "POST /predict", {"files": {"picture": ("p.png", b"ffconcat version 1.0\nfile FILE\n", "image/png")}}, 422,
    ),
    "a picture of SVG that names a file": (
        "POST /predict", {"files": {"picture": ("p.png", b'<svg><image href="file://FILE"/></svg>', "image/png")}}, 422,
    ),
    "a path for another route": ("POST /embed", {"json": {"picture": "FILE"}}, 404),
    "a question with a path in its address": ("POST /predict?picture=FILE", {"json": {}}, 422),
}  # fmt: skip
"""Attack -> method and path, what `httpx.request` takes besides, and the status that is expected."""


@pytest.mark.parametrize(("request_", "sent", "status"), FILES.values(), ids=FILES)
def test_no_file_of_the_server_is_opened(client, secret, monkeypatch, request_, sent, status):
    opened = []
    sys.addaudithook(lambda event, args: opened.append(args[0]) if event == "open" and isinstance(args[0], str) else 0)

    def named(value):
        if isinstance(value, (str, bytes)):
            for word, name in (("FILE", "secret.png"), ("LINK", "link.png")):
                path = str(secret / name)
                value = value.replace(word, path) if isinstance(value, str) else value.replace(b"FILE", path.encode())
            return value
        if isinstance(value, dict):
            return {key: named(each) for key, each in value.items()}
        return type(value)(map(named, value)) if isinstance(value, (list, tuple)) else value

    check_refused(send(client, named(request_), **named(sent)), status)
    assert not [path for path in opened if str(secret) in path or path.startswith(("/etc/passwd", "/dev/zero"))]
    check_goes_on(client)


# ---------------------------------------------------------------------------------- other pages, names, keys

ORIGINS = {
    "a name that points here for a moment": ({"Host": "evil.example"}, 421),
    "such a name, with its own page": ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, 421),
    "a name that ends in ours": ({"Host": "evil-localhost"}, 421),
    "a name that begins with ours": ({"Host": "localhost.evil.example"}, 421),
    "a name that begins with our address": ({"Host": "127.0.0.1.evil.example"}, 421),
    "our name as a login": ({"Host": "localhost@evil.example"}, 421),
    "another with our name as path": ({"Host": "evil.example/localhost"}, 421),
    "another address": ({"Host": "10.0.0.1"}, 421),
    "our address as a number": ({"Host": "2130706433"}, 421),
    "our address in short": ({"Host": "127.1"}, 421),
    "all addresses": ({"Host": "0.0.0.0"}, 421),
    "another address of IPv6": ({"Host": "[::2]:8000"}, 421),
    "ours of IPv6 with more behind": ({"Host": "[::1].evil.example"}, 421),
    "ours of IPv4 within IPv6": ({"Host": "[::ffff:127.0.0.1]"}, 421),
    "no name": ({"Host": ""}, 421),
    "two names": ({"Host": "localhost, evil.example"}, 421),
    "a page of another": ({"Host": "localhost", "Origin": "http://evil.example"}, 403),
    "a page of this machine, from another port": ({"Host": "localhost:8000", "Origin": "http://localhost:3000"}, 403),
    "a page of no port": ({"Host": "localhost:8000", "Origin": "http://localhost"}, 403),
    "a page of another name of ours": ({"Host": "localhost:8000", "Origin": "http://127.0.0.1:8000"}, 403),
    "a page of a file": ({"Host": "localhost", "Origin": "null"}, 403),
    "a page of nowhere": ({"Host": "localhost", "Origin": ""}, 403),
    "a page without a scheme": ({"Host": "localhost", "Origin": "localhost"}, 403),
    "a page of an extension": ({"Host": "localhost", "Origin": "chrome-extension://abc"}, 403),
}  # fmt: skip
"""Attack -> headers, and the status that is expected."""


@pytest.mark.parametrize(("headers", "status"), ORIGINS.values(), ids=ORIGINS)
def test_no_page_of_anothers_has_a_browser_ask(client, headers, status):
    for request in ("POST /predict", "GET /models", "GET /"):
        sent = {"json": GOOD} if request.startswith("POST") else {}
        check_refused(send(client, request, headers, **sent), status)
    check_goes_on(client)


def basic(login: str | bytes) -> str:
    return "Basic " + base64.b64encode(login.encode() if isinstance(login, str) else login).decode()


KEYS = {
    "no key": {},
    "an empty one": {"Authorization": ""},
    "an empty bearer": {"Authorization": "Bearer "},
    "the key without a scheme": {"Authorization": KEY},
    "another key": {"Authorization": "Bearer a-key-of-sixteeN"},
    "the key's beginning": {"Authorization": f"Bearer {KEY[:-1]}"},
    "the key and more": {"Authorization": f"Bearer {KEY}x"},
    "the key twice": {"Authorization": f"Bearer {KEY} {KEY}"},
    "the key of another scheme": {"Authorization": f"Digest {KEY}"},
    "the key's digest": {"Authorization": "Bearer 4d0c4f7d7c0f"},
    "letters outside ASCII": {"Authorization": "Bearer é".encode()},
    "bytes that are nothing": {"Authorization": b"Basic \xe9"},
    "a zero": {"Authorization": b"Bearer " + KEY.encode() + b"\0"},
    "a login that is not base64": {"Authorization": f"Basic {KEY}"},
    "a login that is not UTF-8": {"Authorization": basic(b"\xff:\xff")},
    "a login without a password": {"Authorization": basic("a")},
    "the key as the name": {"Authorization": basic(f"{KEY}:")},
    "the key with a colon before": {"Authorization": basic(f"a::{KEY}")},
    "the key in a cookie": {"Cookie": f"Authorization=Bearer {KEY}; key={KEY}"},
    "the key in a header of its own": {"X-Api-Key": KEY},
    "the key for a proxy": {"Proxy-Authorization": f"Bearer {KEY}"},
}
"""Attack -> headers; 401 is expected."""


@pytest.mark.parametrize("headers", KEYS.values(), ids=KEYS)
def test_nobody_comes_in_without_the_key(client, headers):
    for request in ("POST /predict", "GET /models", "GET /metrics", "GET /openapi.json", "GET /docs", "GET /"):
        sent = {"json": GOOD} if request.startswith("POST") else {}
        answer = send(client, request, headers, key=False, **sent)
        check_refused(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Basic ")
    check_goes_on(client)


@pytest.mark.parametrize(
    "request_",
    ["GET /models?key=KEY", "GET /models?Authorization=Bearer KEY", "GET //healthz/../models", "GET /healthz/"],
)
def test_no_address_comes_in_without_the_key(client, request_):
    answer = send(client, request_.replace("KEY", KEY), key=False)
    check_refused(answer, 401)


def test_of_two_keys_one_must_be_right(client):
    for first, second in (("Bearer wrong", f"Bearer {KEY}"), ("", f"Bearer {KEY}")):
        headers = [("Authorization", first), ("Authorization", second)]
        check_refused(send(client, "GET /models", headers, key=False), 401)


BAD_KEYS = {
    "blanks": " " * 20,
    "a line's end": "k" * 16 + "\n",
    "a carriage return": "k" * 16 + "\r",
    "a tab": "k" * 8 + "\t" + "k" * 8,
    "a blank within": "k k" * 6,
    "a letter outside ASCII": "k" * 16 + "é",
    "a zero-width blank": "k" * 16 + "\u200b",
    "a sign that is not shown": "k" * 16 + "\x7f",
    "few characters": "short",
}


@pytest.mark.parametrize("key", BAD_KEYS.values(), ids=BAD_KEYS)
def test_a_key_that_keeps_nobody_out_starts_no_server(monkeypatch, key):
    monkeypatch.setenv(VARIABLE, key)
    for start in (key_from_environment, lambda: check_host("0.0.0.0")):
        with pytest.raises(UserError, match=VARIABLE) as caught:
            start()
        assert key not in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box.example", ""])
def test_beyond_loopback_no_server_starts_without_a_key(monkeypatch, host):
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(UserError, match="no key is set"):
        check_host(host)


def test_on_loopback_a_server_answers_to_its_own_names_alone():
    assert set(called(check({"models": {"a": {"model": "m"}}}), "127.0.0.1").hosts) == set(HOSTS) - {"testserver"}


# ---------------------------------------------------------------------------------- foreign modules

MODULES = {
    "a module that lies there": "evil",
    "one of a package that lies there": "evil.inner",
    "one in another alphabet": "évil",
    "Python's own": "os",
    "Python's own that speaks": "this",
    "Python's own that runs": "json.tool",
    "an installed package that is not a plugin": "yaml",
    "a part of a plugin": "sensorium_clip.plugins",
    "a relative one": ".evil",
    "a path": "../evil",
    "a file": "evil.py",
    "the folder": ".",
    "no name": "",
    "a name with a blank": "sensorium_clip ",
    "the main module": "__main__",
}
"""Attack -> what the `plugins:` of a model list besides."""


def naming(model: Path, modules: object, folder: Path) -> Path:
    """Copies a model whose experiment lists other modules, and whose manifest is right."""
    copy = folder / "foreign"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    experiment = json.loads((copy / "experiment.json").read_text())
    (copy / "experiment.json").write_text(json.dumps({**experiment, "plugins": modules}))
    manifest = json.loads((copy / MANIFEST).read_text())  # whoever makes a model writes this as well
    manifest["sha256"]["experiment.json"] = hashlib.sha256((copy / "experiment.json").read_bytes()).hexdigest()
    (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


COMMANDS = {
    "predict": lambda model: ("predict", model, "x=[1.0]"),
    "predict, in bulk": lambda model: ("predict", model, "--input", ":test", "--output", "answers.parquet"),
    "evaluate": lambda model: ("evaluate", model),
    "index": lambda model: ("index", model, ":test", "--output", "index"),
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return hardly_trained(tmp_path_factory.mktemp("model"))


EVIL = "import pathlib; pathlib.Path('was-here').touch()\n"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with `evil.py`; nothing is allowed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOW, "")
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    (tmp_path / "evil.py").write_text(EVIL)
    yield tmp_path
    assert not (tmp_path / "was-here").exists(), "it has run"
    assert not {"evil", "this"} & set(sys.modules)


@pytest.mark.parametrize("module", MODULES.values(), ids=MODULES)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_a_model_loads_no_module_of_its_own_choice(folder, model, module, command):
    answer = call(*command(naming(model, ["every_hook", module], folder)))
    assert answer.status == 2
    assert repr(module) in answer.err
    assert f"--plugins every_hook,{module}" in answer.err


@pytest.mark.parametrize("module", ["evil", "os", "this", ".evil"])
@pytest.mark.parametrize(("command", "record"), [("train", "run.json"), ("tune", "search.json")])
def test_what_goes_on_loads_no_module_of_its_own_choice(folder, module, command, record):
    content = {"name": "x", "experiment": {"task": "clip", "plugins": [module]}, "learnt": {}, "uri": ""}
    (folder / "runs" / "x").mkdir(parents=True)
    (folder / "runs" / "x" / record).write_text(json.dumps(content))
    answer = call(command, "--resume", "x")
    assert answer.status == 2
    assert repr(module) in answer.err


STRANGE = [3, "evil", {"evil": 1}, [["evil"]], [None], [{"name": "evil"}], None, True]


@pytest.mark.parametrize("plugins", STRANGE, ids=str)
def test_a_list_of_modules_that_is_none_loads_none(folder, model, plugins):
    answer = call("predict", naming(model, plugins, folder), "x=[1.0]")
    assert answer.status == 2
    assert "Traceback" not in answer.err


def test_a_model_that_others_start_from_loads_no_module(folder, model):
    copy = naming(model, ["every_hook", "evil"], folder)
    answer = call(
        "train", "lines", f"model.weights={copy}", "plugins=[every_hook]", "training.epochs=0", "tracking=null"
    )
    assert "evil" not in answer.err


# ---------------------------------------------------------------------------------- links


def linked(kind):
    """Lays a model in which a file is a link, a pipe or a device, and returns its folder."""

    def lay(folder: Path) -> Path:
        (folder / "outside.json").write_text(json.dumps({"sha256": {}, CANARY: 1}))
        place = folder / "model"
        place.mkdir()
        (place / MANIFEST).write_text(json.dumps({"sha256": {"state.json": ""}}))
        kind(place, folder / "outside.json")
        return place

    return lay


def manifest(name):
    return lambda place, outside: (place / MANIFEST).write_text(json.dumps({"sha256": {name: ""}}))


def replaced(make):
    def lay(place, outside):
        (place / MANIFEST).unlink()
        make(place / MANIFEST, outside)

    return lay


LINKS = {
    "a file": (lambda place, outside: (place / "state.json").symlink_to(outside), "is a link"),
    "a folder": (lambda place, outside: (place / "more").symlink_to(outside.parent), "is a link"),
    "a file that is not there": (lambda place, outside: (place / "state.json").symlink_to("/nothing"), "is a link"),
    "a device": (lambda place, outside: (place / "model.safetensors").symlink_to("/dev/zero"), "is a link"),
    "the manifest": (replaced(lambda place, outside: place.symlink_to(outside)), "is a link"),
    "a pipe": (lambda place, outside: os.mkfifo(place / "state.json"), "is a pipe"),
    "a pipe as manifest": (replaced(lambda place, outside: os.mkfifo(place)), "is a pipe"),
    "a name that leads outside": (manifest("../outside.json"), "is missing"),
    "a name from the root": (manifest("/etc/passwd.json"), "is missing"),
}
"""What in a model's folder leads elsewhere -> how it is laid, and what the refusal says."""


@pytest.mark.parametrize(("lay", "said"), LINKS.values(), ids=LINKS)
@pytest.mark.timeout(60)
def test_nothing_in_a_models_folder_leads_elsewhere(tmp_path, lay, said):
    place = linked(lay)(tmp_path)
    with pytest.raises(UserError, match=said) as caught:
        open_checkpoint(place)
    assert CANARY not in str(caught.value)
    if said in ("is a link", "is a pipe"):
        with pytest.raises(UserError, match=said):
            fetch(f"file://{place}")


@pytest.mark.parametrize("name", ["index.json", "rows.jsonl", "vectors.faiss"])
def test_nothing_in_an_indexs_folder_leads_elsewhere(tmp_path, name):
    for each in ("index.json", "rows.jsonl", "vectors.faiss"):
        (tmp_path / each).write_text("{}")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(UserError, match=f"{name} is a link"):
        Index(tmp_path)


def test_a_lock_laid_as_a_link_truncates_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    victim = tmp_path / "victim"
    victim.write_text(CANARY)
    lock.lock_file("store").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic links"), lock.alone("store"):
        pass
    assert victim.read_text() == CANARY


OPEN = {
    "others may write there": lambda place: place.chmod(0o777),
    "the group may write there": lambda place: place.chmod(0o720),
    "it is a link": lambda place: (place.rename(place.with_name("moved")), place.symlink_to(place.with_name("moved"))),
}


@pytest.mark.parametrize("change", OPEN.values(), ids=OPEN)
def test_locks_lie_in_a_folder_that_nobody_else_can_write_to(tmp_path, monkeypatch, change):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    place = lock.lock_file("store").parent
    assert place.stat().st_mode & 0o777 == 0o700
    change(place)
    with pytest.raises(UserError, match="Others can write"):
        lock.lock_file("store")
