"""Nothing hostile is a failure: requests, bytes on the wire, YAML, models. A row is an attack and what is expected.

A new one joins the table of its kind with a line; `test_elsewhere.py` names the tests that lie elsewhere.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import struct
from pathlib import Path

import pytest
import torch
from asked import GOOD, JSON, KEY, LIMITS, check_goes_on, check_refused, coded, echo, guarded, hardly_trained, send
from starlette.testclient import TestClient

from command import call
from sensorium.assembly.loading import load
from sensorium.engine.checkpoint import MANIFEST
from sensorium.errors import UserError
from sensorium.experiment.yamls import parse_yaml
from sensorium.inference.predictor import Predictor
from sensorium.modules import ALLOW
from visits import running

# ---------------------------------------------------------------------------------- requests

FORM = "multipart/form-data; boundary=b"


def form(*parts: bytes, end: bytes = b"--b--\r\n", kind: str | bytes = FORM) -> dict:
    """Returns a form of parts, each a head and a content."""
    return {"content": b"".join(b"--b\r\n" + part + b"\r\n" for part in parts) + end, "headers": {"Content-Type": kind}}


def part(name: bytes = b"words", content: bytes = b"one", more: bytes = b"") -> bytes:
    return b'Content-Disposition: form-data; name="' + name + b'"' + more + b"\r\n\r\n" + content


def plain(content: str | bytes, kind: str | bytes = "application/json") -> dict:
    return {"content": content, "headers": {"Content-Type": kind}}


PICTURE = part(b"picture", echo.png(), b'; filename="p.png"')

REQUESTS = {
    # JSON
    "no JSON": (plain(b'{"words": '), 400),
    "no UTF-8": (plain(b'{"words": "\xff\xfe"}'), 400),
    "UTF-16": (plain('{"words": "one"}'.encode("utf-16")), 400),
    "a mark of order": (plain(b"\xef\xbb\xbf{}"), 400),
    "a zero": (plain(b'{"words": "a\0b"}'), 400),
    "nothing": (plain(b""), 400),
    "no object": (plain(b"[1]"), 422),
    "a number alone": (plain(b"1"), 422),
    "a key twice": (plain(b'{"words": "one", "words": "two"}'), 400),
    "a key twice, once coded": (plain(b'{"words": "one", "w\\u006frds": "two"}'), 400),
    "a key twice, deep": (plain(b'{"numbers": [{"a": 1, "a": 2}]}'), 400),
    "NaN": (plain(b'{"numbers": [NaN, 1]}'), 400),
    "infinity": (plain(b'{"numbers": [-Infinity, 1]}'), 400),
    "a number of 400 digits": (plain(b'{"numbers": [' + b"9" * 400 + b", 1]}"), 400),
    "a number of 5000 digits": (plain(b'{"numbers": [' + b"9" * 5000 + b", 1]}"), 400),
    "a number of 190,000 digits": (plain(b'{"numbers": [' + b"9" * 190_000 + b", 1]}"), 400),
    "a number beyond a float": (plain(b'{"numbers": [1e400, 1]}'), 400),
    "a number with an exponent of many digits": (plain(b'{"numbers": [1e' + b"9" * 100_000 + b", 1]}"), 400),
    "lists within lists": (plain(b"[" * 100_000), 400),
    "objects within objects": (plain(b'{"a":' * 30_000), 400),
    "lists within lists that end": (plain(b'{"numbers": ' + b"[" * 900 + b"]" * 900 + b"}"), 400),
    "objects within objects that end": (plain(b'{"numbers": ' + b'{"a":' * 400 + b"1" + b"}" * 401), 400),
    "a list of many": (plain(b'{"numbers": [' + b"1," * 90_000 + b"1]}"), 422),
    "a list of lists": (plain(b'{"numbers": [' + b"[]," * 60_000 + b"[]]}"), 422),
    "many keys": (plain(json.dumps({f"k{n}": 1 for n in range(10_000)})), 422),
    "a name that is not known": (plain(b'{"pictur": "AAAA"}'), 422),
    "a name of 150,000 letters": (plain(json.dumps({"p" * 150_000: 1})), 422),
    "half a letter": ({"json": {**GOOD}, "extra": b'"words": "\\ud800"'}, 422),
    "half a letter as a name": (plain(b'{"\\ud800": 1}'), 422),
    "a number as picture": (plain(b'{"picture": 3}'), 422),
    "null as picture": (plain(b'{"picture": null}'), 422),
    "base64 in lines": (plain(json.dumps({"picture": GOOD["picture"][:40] + "\n" + GOOD["picture"][40:]})), 422),
    "base64 with blanks": (plain(json.dumps({"picture": " " + GOOD["picture"]})), 422),
    "base64 of other letters": (plain(json.dumps({"picture": "____"})), 422),
    "base64 outside ASCII": (plain(json.dumps({"picture": "éééé"})), 422),
    "too few numbers": ({"json": {**GOOD, "numbers": [1]}}, 422),
    "an object as numbers": ({"json": {**GOOD, "numbers": {"0": 1}}}, 422),
    "a number as words": ({"json": {**GOOD, "words": 3}}, 422),
    "a text of 150,000 letters": ({"json": {**GOOD, "words": "a b " * 37_500}}, 422),
    # forms
    "a form without a boundary": (plain(b"x", "multipart/form-data"), 400),
    "a form that is none": (plain(b"x", FORM), 400),
    "an empty form": (plain(b"", FORM), 422),
    "a boundary that is empty": (plain(b"--\r\n", "multipart/form-data; boundary="), 400),
    "a boundary outside ASCII": (form(part(), kind=b"multipart/form-data; boundary=\xe9"), 400),
    "a boundary of 100,000 letters": (plain(b"x", "multipart/form-data; boundary=" + "b" * 50_000), 400),
    "a form torn after a part": (form(PICTURE, end=b""), 400),
    "a form torn in its end": (form(PICTURE, end=b"--b-"), 400),
    "a form torn before its end": (form(PICTURE, end=b"--"), 400),
    "a form torn in a head": (form(PICTURE, b"Content-Disposition: form-da", end=b""), 400),
    "a part without a head": (form(PICTURE, b"\r\none"), 400),
    "a part without a name": (form(PICTURE, b"Content-Disposition: form-data\r\n\r\none"), 400),
    "a part of an empty name": (form(PICTURE, part(b"")), 422),
    "a part twice": (form(PICTURE, PICTURE), 422),
    "a part twice, once with a quote": (form(PICTURE, part(b"words"), part(b"words%22")), 422),
    "a name with a quote": (form(PICTURE, part(b'wo\\"rds')), 422),
    "a name with a line's end": (form(PICTURE, part(b"wo%0D%0Ards")), 422),
    "a name that is not UTF-8": (form(PICTURE, part(b"\xff\xfe")), 422),
    "a file's name outside ASCII": (form(part(b"picture", b"x", b'; filename="\xe9.png"')), 422),
    "a file's name with a path": (form(part(b"picture", b"x", b'; filename="../../../etc/cron.d/x"')), 422),
    "a thousand parts": (form(PICTURE, *(part(b"p%d" % n) for n in range(1000))), 400),
    "a thousand files": (form(*(part(b"p%d" % n, b"x", b'; filename="f"') for n in range(1000))), 400),
    "a head of 100,000 letters": (form(PICTURE, part(more=b"; x=" + b"y" * 100_000)), 400),
    "a thousand heads": (form(PICTURE, b"X: y\r\n" * 1000 + part()), 400),
    "a part in another encoding": (form(PICTURE, part(content=b"\xff\xfeo\0")), 400),
    "another encoding for all parts": (form(PICTURE, part(b"_charset_", b"utf-16")), 422),
    "a part that is coded": (form(b"Content-Transfer-Encoding: base64\r\n" + part(b"picture", b"AAAA")), 422),
    "a form within a form": (form(b"Content-Type: multipart/mixed; boundary=c\r\n" + PICTURE), 415),
    "a text where a file belongs": (form(part(b"picture", b"one")), 422),
    "a file of another type": (form(b"Content-Type: text/html\r\n" + PICTURE), 415),
    "numbers that are no JSON": (form(PICTURE, part(b"numbers", b"[0.1,")), 422),
    "numbers within numbers": (form(PICTURE, part(b"numbers", b"[" * 90_000)), 422),
    "numbers within numbers that end": (form(PICTURE, part(b"numbers", b"[" * 900 + b"]" * 900)), 422),
    "numbers that are not": (form(PICTURE, part(b"numbers", b"[NaN, 1]")), 422),
    # heads
    "no type": (plain(b"{}", ""), 415),
    "another type": (plain(b"{}", "text/xml"), 415),
    "a type that is none": (plain(b"{}", "application"), 415),
    "a form of addresses": (plain(b"picture=x", "application/x-www-form-urlencoded"), 415),
    "an encoding that is not known": (plain(b"x", f"{FORM}; charset=undefined"), 415),
    "an encoding that Python knows alone": (plain(b"x", f"{FORM}; charset=idna"), 415),
    "an encoding of bytes": (plain(b"x", f"{FORM}; charset=".encode() + b"\xe9\x00"), 415),
    "another encoding": (plain(b"{}", "application/json; charset=latin-1"), 415),
    "an answer that there is not": ({"json": GOOD, "headers": {"Accept": "image/gif"}}, 406),
    "a packed body": ({"content": b"\x1f\x8b\x08", "headers": {**JSON, "Content-Encoding": "gzip"}}, 400),
    "a length that is none": ({"content": b"{}", "headers": {**JSON, "Content-Length": "two"}}, 413),
    "a length of 5000 digits": ({"content": b"{}", "headers": {**JSON, "Content-Length": "9" * 5000}}, 413),
    "a length below nothing": ({"content": b"{}", "headers": {**JSON, "Content-Length": "-1"}}, 413),
    "a length in another alphabet": ({"content": b"{}", "headers": {**JSON, "Content-Length": "²".encode()}}, 413),
    # too much
    "a body that is too large": (plain(b"x" * (LIMITS.body + 1)), 413),
    "a form that is too large": (form(part(content=b"x" * LIMITS.body)), 413),
    # media
    "a torn picture": ({"json": {"picture": coded(echo.png()[:40])}}, 422),
    "an empty picture": ({"json": {"picture": ""}}, 422),
    "a sound as picture": ({"json": {"picture": coded(echo.sound())}}, 422),
    "a picture as sound": ({"json": {**GOOD, "sound": GOOD["picture"]}}, 422),
    "a sound that is too long": ({"json": {**GOOD, "sound": coded(echo.sound(seconds=2.5))}}, 422),
    "a picture that is too large": ({"json": {"picture": coded(echo.png(101))}}, 422),
}
"""Attack -> what `httpx.request` takes, and the status that is expected."""


@pytest.fixture(scope="module")
def client():
    with TestClient(guarded(), raise_server_exceptions=False) as client:
        yield client


@pytest.mark.parametrize(("sent", "status"), REQUESTS.values(), ids=REQUESTS)
def test_no_request_is_a_failure(client, sent, status):
    if "extra" in sent:
        sent = plain(json.dumps(sent["json"]).encode()[:-1] + b", " + sent["extra"] + b"}")
    check_refused(send(client, "POST /predict", **sent), status)
    check_goes_on(client)


PATHS = {
    "another method": ("GET /predict", 405),
    "a method that is none": ("BREW /predict", 405),
    "a change": ("PUT /models/echo/predict", 405),
    "a trace": ("TRACE /models", 405),
    "a path that there is not": ("GET /nothing", 404),
    "a model that there is not": ("POST /models/eco/predict", 404),
    "a model of 60,000 letters": ("POST /models/" + "e" * 60_000 + "/predict", 404),
    "letters that are none": ("GET /models/%ff%fe/page", 404),
    "a question to a model without embeddings": ("POST /embed", 404),
    "a search without an index": ("POST /search?k=9999999999999999999999", 404),
}
"""Attack -> method and path, and the status that is expected."""


@pytest.mark.parametrize(("request_", "status"), PATHS.values(), ids=PATHS)
def test_no_address_is_a_failure(client, request_, status):
    check_refused(send(client, request_), status)
    check_goes_on(client)


# ---------------------------------------------------------------------------------- the wire

HEAD = f"Host: localhost\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n".encode()
POST = b"POST /predict HTTP/1.1\r\n" + HEAD
HIDDEN = b"GET /hidden HTTP/1.1\r\n" + HEAD + b"\r\n"
SIZE = str(len(HIDDEN)).encode()

WIRE = {
    "a length and pieces": POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "pieces and a length": POST + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + HIDDEN,
    "two lengths": POST + b"Content-Length: 2\r\nContent-Length: " + SIZE + b"\r\n\r\n" + HIDDEN,
    "two lengths in one": POST + b"Content-Length: 2, " + SIZE + b"\r\n\r\n" + HIDDEN,
    "a length with a sign": POST + b"Content-Length: +" + SIZE + b"\r\n\r\n" + HIDDEN,
    "a length of sixteen": POST + b"Content-Length: 0x2\r\n\r\n" + HIDDEN,
    "a length below nothing": POST + b"Content-Length: -1\r\n\r\n" + HIDDEN,
    "a length of 400 digits": POST + b"Content-Length: " + b"9" * 400 + b"\r\n\r\n" + HIDDEN,
    "a blank before the colon": POST + b"Content-Length : " + SIZE + b"\r\n\r\n" + HIDDEN,
    "a blank within a name": POST + b"Transfer Encoding: chunked\r\nContent-Length: x\r\n\r\n" + HIDDEN,
    "an encoding that is not known": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an encoding twice": POST + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an encoding with another behind": POST + b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + HIDDEN,
    "an encoding of control signs": POST + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + HIDDEN,
    "a piece of a negative size": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n" + HIDDEN,
    "a piece of a size that is none": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n\r\n" + HIDDEN,
    "a piece of a huge size": POST + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + HIDDEN,
    "a piece with a sign": POST + b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n" + HIDDEN,
    "a piece longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabc\r\n0\r\n\r\n" + HIDDEN,
    "a head in two lines": POST + b"X: y\r\n Content-Length: 2\r\nContent-Length: x\r\n\r\n" + HIDDEN,
    "a head with a zero": POST + b"X: y\0z\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "a head without a colon": POST + b"Content-Length\r\n\r\n" + HIDDEN,
    "a name with a line's end": POST + b"X\r: y\r\nContent-Length: 0\r\n\r\n" + HIDDEN,
    "another version": b"POST /predict HTTP/9.9\r\n" + HEAD + b"\r\n" + HIDDEN,
    "no version": b"POST /predict\r\n\r\n" + HIDDEN,
    "the beginning of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "the beginning of TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 100,
    "bytes that are nothing": bytes(range(256)) * 4,
    "nothing but lines": b"\r\n" * 10_000,
    "a path without a slash": b"GET predict HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a path of slashes": b"GET " + b"/" * 10_000 + b" HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a path with a zero": b"GET /\0 HTTP/1.1\r\n" + HEAD + b"\r\n",
    "a path of bytes": b"GET /\xff\xfe HTTP/1.1\r\n" + HEAD + b"\r\n",
    "an address of another": b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a tunnel": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "a web socket": b"GET /predict HTTP/1.1\r\n" + HEAD + b"Upgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "no host": b"GET /models HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /models HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
    "a head of 300,000 letters": b"GET /models HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 300_000 + b"\r\n\r\n",
    "a path of 300,000 letters": b"GET /" + b"y" * 300_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "20,000 heads": b"GET /models HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 20_000 + b"\r\n",
    "a head that does not end": b"GET /models HTTP/1.1\r\nHost: localhost\r\nX: y",
    "a body that does not come": POST + b"Content-Length: 1000\r\n\r\n{",
    "a piece that does not come": POST + b"Transfer-Encoding: chunked\r\n\r\n3e8\r\n{",
    "a question whether to go on": POST + b"Expect: 100-continue\r\nContent-Length: 900000000\r\n\r\n",
    "a login of bytes": b"GET /models HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic \xe9\r\n\r\n",
}
"""Attack -> bytes that are sent. None is answered with what the server has, nor with a failure."""


def statuses(port: int, sent: bytes) -> list[int]:
    """Returns the statuses of what comes back until nothing more does, or the connection ends."""
    got = b""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        try:
            connection.sendall(sent)
            connection.settimeout(2)
            while piece := connection.recv(1 << 16):
                got += piece
                connection.settimeout(0.2)
        except (ConnectionError, TimeoutError):
            pass  # it hangs up on what it does not read
    return [int(line.split()[1]) for line in got.split(b"\r\n") if line.startswith(b"HTTP/1.1 ")]


@pytest.fixture(scope="module", params=["h11", "httptools"])
def port(request):
    with running(guarded(), request.param) as url:
        yield int(url.rpartition(":")[2])


@pytest.mark.parametrize("sent", WIRE.values(), ids=WIRE)
def test_nothing_on_the_wire_confuses_the_server(port, sent):
    seen = statuses(port, sent)
    assert set(seen) <= {100, 400, 401, 403, 404, 405, 408, 413, 414, 415, 421, 431}, seen
    body = json.dumps(GOOD).encode()
    good = POST + b"Connection: close\r\nContent-Length: " + str(len(body)).encode() + b"\r\n\r\n" + body
    assert statuses(port, good) == [200]


# ---------------------------------------------------------------------------------- YAML

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{new}: &{new} {{<<: [{', '.join([f'*{old}'] * 9)}]}}\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)

YAML = {
    "aliases of aliases": BOMB,
    "merges of merges": MERGES,
    "a list that holds itself": "a: &a [*a]",
    "a mapping that holds itself": "&a {b: *a}",
    "a mapping that is its own key": "&a {*a : 1}",
    "a merge of itself": "&a {<<: *a}",
    "an alias of nothing": "a: *b",
    "a call of Python": "!!python/object/apply:os.system ['touch was-here']",
    "a new object of Python": "a: !!python/object/new:subprocess.Popen [['touch', 'was-here']]",
    "an object of Python": "!!python/object:pathlib.Path {}",
    "a name of Python": "!!python/name:os.system",
    "a module of Python": "!!python/module:this",
    "a tuple of Python": "!!python/tuple [1, 2]",
    "a tag of somebody's": "!evil x",
    "lists within lists": "[" * 5000,
    "lists within lists, in lines": "- " * 5000,
    "mappings within mappings": "{a: " * 5000,
    "a number that is none": "!!int x",
    "a time that is none": "!!timestamp x",
    "a truth that is none": "!!bool x",
    "bytes that are none": "!!binary é",
    "a number of 5000 digits": "9" * 5000,
    "a list as key": "? [1]\n: 2",
    "a key twice": "a: 1\na: 2",
    "two documents": "a: 1\n---\nb: 2",
    "a zero": "a: \0",
    "a sign of control": "a: \x07",
    "half a letter": 'a: "\\ud800\n',
    "a tab": "a:\n\t- b",
    "a version that there is not": "%YAML 9.9\n--- a",
}
"""Attack -> a text that is refused."""


@pytest.mark.parametrize("text", YAML.values(), ids=YAML)
@pytest.mark.timeout(60)
def test_hostile_yaml_is_refused(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="is not YAML") as caught:
        parse_yaml(text, "x", mapping=False)
    assert len(str(caught.value)) < 500
    with pytest.raises(UserError):
        load("clip", [f"model={text}"])
    (tmp_path / "mine.yaml").write_text(text)
    answer = call("show", "mine.yaml")
    assert answer.status == 2, answer
    assert "Traceback" not in answer.err
    assert not (tmp_path / "was-here").exists()


# ---------------------------------------------------------------------------------- models


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return hardly_trained(tmp_path_factory.mktemp("model"))


class Burglar:
    """Unpickling it leaves a trace."""

    def __reduce__(self):
        return Path.touch, (Path("was-here"),)


def header(text: str | bytes, length: int | None = None, body: bytes = b"") -> bytes:
    """Returns a file of safetensors with a header."""
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def tensor(shape="[1]", begin=0, end=4, kind="F32") -> str:
    return f'{{"a":{{"dtype":"{kind}","shape":{shape},"data_offsets":[{begin},{end}]}}}}'


def torched() -> bytes:
    import io

    buffer = io.BytesIO()
    torch.save({"a": Burglar()}, buffer)
    return buffer.getvalue()


WEIGHTS = {
    "nothing": b"",
    "a pickle": pickle.dumps(Burglar()),
    "a pickle of torch's": torched(),
    "a zip": b"PK\x05\x06" + b"\0" * 18,
    "seven bytes": b"\0" * 7,
    "a header without end": header("{}", 1 << 62),
    "a header longer than the file": header("{}", 1000),
    "a header of a hundred megabytes": header("{}", 100_000_001),
    "a header of nothing": header(""),
    "a header that is not JSON": header("{"),
    "a header that is a list": header("[]"),
    "a header that is not UTF-8": header(b"\xff\xfe"),
    "lists within lists": header("[" * 100_000),
    "a name twice": header(tensor()[:-1] + "," + tensor()[1:], body=b"\0" * 4),
    "no tensor": header("{}"),
    "another tensor": header(tensor(), body=b"\0" * 4),
    "places that cross": header(tensor(begin=4, end=0), body=b"\0" * 4),
    "places beyond the end": header(tensor(end=4000, shape="[1000]"), body=b"\0" * 4),
    "places below nothing": header(tensor(begin=-4), body=b"\0" * 4),
    "places beyond 64 bits": header(tensor(end=1 << 70), body=b"\0" * 4),
    "a shape beyond the file": header(tensor(shape="[1000000000000]"), body=b"\0" * 4),
    "a shape beyond 64 bits": header(tensor(shape="[4294967296,4294967296,4294967296]"), body=b"\0" * 4),
    "a shape below nothing": header(tensor(shape="[-1]"), body=b"\0" * 4),
    "a shape of a thousand": header(tensor(shape=str([1] * 1000)), body=b"\0" * 4),
    "a type that there is not": header(tensor(kind="X99"), body=b"\0" * 4),
    "more behind": header(tensor(), body=b"\0" * 400),
}
"""What `model.safetensors` of a model holds, whose manifest is right."""

VECTORS = {name: {"name": "vector", "size": 1} for name in "xyz"}
DOCUMENTS = {
    "no JSON": ("experiment", "{"),
    "nothing at all": ("experiment", ""),
    "bytes that are nothing": ("experiment", b"\xff\xfe\0"),
    "a list": ("experiment", "[]"),
    "null": ("modalities", "null"),
    "lists within lists": ("experiment", "[" * 100_000),
    "numbers without end": ("experiment", '{"task": ' + "9" * 5000 + "}"),
    "an experiment of nothing": ("experiment", "{}"),
    "a task that there is not": ("experiment", {"task": "lnes"}),
    "a task that is a list": ("experiment", {"task": ["lines"]}),
    "a task that is a number": ("experiment", {"task": 3}),
    "an option that there is not": ("experiment", {"evil": 1}),
    "modalities that are a number": ("experiment", {"modalities": 3}),
    "modalities that are a list": ("experiment", {"modalities": []}),
    "a modality that is a list": ("experiment", {"modalities": {**VECTORS, "x": []}}),
    "a model that is a text": ("experiment", {"model": "evil"}),
    "a model that is a list": ("experiment", {"model": [[]]}),
    "a training that is null": ("experiment", {"training": None}),
    "a dataset that there is not": ("experiment", {"dataset": "evil"}),
    "no modality": ("experiment", {"modalities": {}}),
    "another modality": ("experiment", {"modalities": {"y": {"name": "doubled", "size": 1}}}),
    "a size below nothing": ("experiment", {"modalities": {**VECTORS, "x": {"name": "doubled", "size": -1}}}),
    "learnt states of nobody": ("modalities", "{}"),
    "a manifest that is none": ("manifest", "["),
    "a manifest that is a list": ("manifest", "[1]"),
    "a manifest of lists": ("manifest", '{"sha256": [[]]}'),
    "a manifest within manifests": ("manifest", '{"sha256": ' * 50_000),
    "a manifest of numbers": ("manifest", '{"sha256": {"experiment.json": 3}}'),
    "a manifest of nothing": ("manifest", '{"sha256": {}}'),
    "a manifest that is bytes": ("manifest", b"\xff\xfe"),
}
"""What is wrong -> a document of a model, and what it holds, or what its experiment has instead."""


def changed(model: Path, folder: Path, name: str, content: bytes | str | dict) -> Path:
    """Copies a model, with another file, which the manifest says to be right."""
    copy = folder / "model"
    copy.mkdir()
    for path in model.iterdir():
        (copy / path.name).write_bytes(path.read_bytes())
    if isinstance(content, dict):
        content = json.dumps({**json.loads((model / name).read_text()), **content})
    (copy / name).write_bytes(content.encode() if isinstance(content, str) else content)
    if name != MANIFEST:
        manifest = json.loads((copy / MANIFEST).read_text())
        manifest["sha256"][name] = hashlib.sha256((copy / name).read_bytes()).hexdigest()
        (copy / MANIFEST).write_text(json.dumps(manifest))
    return copy


FILES = {
    **{f"weights: {attack}": ("model.safetensors", content) for attack, content in WEIGHTS.items()},
    **{f"{name}: {attack}": (f"{name}.json", content) for attack, (name, content) in DOCUMENTS.items()},
}


@pytest.mark.parametrize(("name", "content"), FILES.values(), ids=FILES)
def test_a_model_that_is_broken_or_hostile_is_refused(tmp_path, monkeypatch, model, name, content):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ALLOW, "every_hook")
    with pytest.raises(UserError) as caught:
        Predictor.load(str(changed(model, tmp_path, name, content)))
    assert len(str(caught.value)) < 3000
    assert not (tmp_path / "was-here").exists()


def test_the_model_itself_is_taken(tmp_path, monkeypatch, model):
    monkeypatch.setenv(ALLOW, "every_hook")
    assert Predictor.load(
        str(changed(model, tmp_path, "model.safetensors", (model / "model.safetensors").read_bytes()))
    )
