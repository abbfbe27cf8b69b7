"""The endpoint in this process: questions and answers, what is refused, and that it goes on after each."""

import asyncio
import base64
import dataclasses
import hashlib
import io
import json
import re
import struct
import zlib

import echo
import httpx
import numpy as np
import pytest
import soundfile
from PIL import Image as Pillow
from starlette.datastructures import Headers
from starlette.testclient import TestClient

from sensorium.serving.application import application
from sensorium.serving.description import Input
from sensorium.serving.question import read_question
from sensorium.serving.refusal import Refusal
from sensorium.serving.settings import Limits, digest

LIMITS = Limits(body=200_000, max_pixels=10_000, max_seconds=2, arrival=0.5)


def coded(content):
    return base64.b64encode(content).decode()


@pytest.fixture(scope="module")
def model():
    return echo.local(limits=LIMITS)


@pytest.fixture(scope="module")
def client(model):
    with TestClient(application({"echo": model}, LIMITS)) as client:
        yield client


@pytest.fixture(autouse=True)
def goes_on(client):
    """After whatever a test did, the next good request is answered."""
    yield
    answer = client.post("/predict", json={"picture": coded(echo.png())})
    assert answer.status_code == 200
    assert base64.b64decode(answer.json()["picture"]) == echo.png()


def refused(answer, status, text):
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"wrong", "expected", "hint"}
    assert text in " ".join(error.values())


def test_json_multipart_and_predict_say_the_same(client):
    question = {"picture": echo.png(20), "sound": echo.sound(), "words": "two three", "numbers": [0.1, 1e-30]}
    (said,) = echo.predictor()([question])
    expected = {name: coded(value) if isinstance(value, bytes) else value for name, value in said.items()}
    assert expected["words"] == "two three"
    plain = {**question, "picture": coded(question["picture"]), "sound": coded(question["sound"])}
    by_json = client.post("/models/echo/predict", json=plain)
    files = {
        "picture": ("p.png", question["picture"], "image/png"),
        "sound": ("s.wav", question["sound"], "audio/wav"),
        "numbers": (None, json.dumps(question["numbers"])),
        "words": ("words.txt", b"two three", "text/plain"),
    }
    by_form = client.post("/predict", files=files)
    assert by_json.json() == by_form.json() == expected
    assert by_json.headers["x-model-version"] == "echo/1"


@pytest.mark.parametrize(
    ("field", "content", "kind"),
    [
        ("picture", echo.png(), "image/png"),
        ("picture", echo.png(), "application/octet-stream"),
        ("sound", echo.sound("WAV"), "audio/x-wav"),
        ("sound", echo.sound("FLAC"), "audio/flac"),
    ],
)
def test_media_types_that_are_taken(client, field, content, kind):
    files = {"picture": ("p.png", echo.png(), "image/png"), field: ("f", content, kind)}
    answer = client.post("/predict", files=files)
    assert answer.status_code == 200, answer.text
    assert field in answer.json()


def test_jpeg_is_taken(client):
    buffer = io.BytesIO()
    Pillow.fromarray(np.full((16, 16), 90, np.uint8)).save(buffer, "JPEG")
    answer = client.post("/predict", files={"picture": ("p.jpg", buffer.getvalue(), "image/jpeg")})
    with Pillow.open(io.BytesIO(base64.b64decode(answer.json()["picture"]))) as found:
        assert abs(int(np.asarray(found).mean()) - 90) <= 1


def test_the_medium_itself_is_given_when_asked_for(client):
    question = {"picture": coded(echo.png()), "sound": coded(echo.sound())}
    answer = client.post("/predict", json=question, headers={"Accept": "image/png"})
    assert answer.headers["content-type"] == "image/png"
    assert answer.content == echo.png()
    answer = client.post("/predict", json=question, headers={"Accept": "text/html;q=0.9, audio/wav"})
    assert answer.headers["content-type"] == "audio/wav"
    samples, rate = soundfile.read(io.BytesIO(answer.content))
    assert (rate, len(samples)) == (8000, 800)
    both = client.post("/predict", json=question, headers={"Accept": "audio/wav;q=0.5, application/json"})
    assert both.headers["content-type"] == "application/json"
    refused(client.post("/predict", json=question, headers={"Accept": "image/gif"}), 406, "audio/wav, image/png")
    lone = {"picture": coded(echo.png())}
    refused(client.post("/predict", json=lone, headers={"Accept": "audio/wav"}), 406, "0 outputs")


def chunk(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def bomb(side):
    """A PNG of many pixels in less than a hundred bytes."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 10)) + chunk(b"IEND", b"")


def ten_hours():
    """A WAV of a few bytes whose header says ten hours."""
    size = 10 * 3600 * 8000 * 2
    head = b"RIFF" + struct.pack("<I", size + 36) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 16000, 2, 16)
    return head + b"data" + struct.pack("<I", size) + b"\0" * 100


@pytest.mark.parametrize(
    ("field", "content", "text"),
    [
        ("picture", echo.png()[:40], "Input 'picture': the file given is not a readable picture"),
        ("picture", b"", "is empty"),
        ("picture", bomb(30_000), "900000000 pixels"),
        ("picture", bomb(1000), "1000 x 1000 pixels. At most 10000"),
        ("picture", echo.sound(), "is not a readable picture"),
        ("sound", ten_hours(), "breaks off, with 100 of 576000000 bytes"),
        ("sound", echo.sound(seconds=2.5), "At most 2 s"),
    ],
)
def test_media_that_are_broken_or_too_large(client, field, content, text):
    good = {"picture": echo.png()}
    refused(client.post("/predict", json={k: coded(v) for k, v in {**good, field: content}.items()}), 422, text)
    refused(client.post("/predict", files={k: (k, v) for k, v in {**good, field: content}.items()}), 422, text)


@pytest.mark.parametrize(
    "value", ["/etc/passwd", "file:///etc/passwd", "http://127.0.0.1/x.png", "s3://b/x.png", "../x"]
)
def test_a_string_is_never_a_path_or_uri(client, value, tmp_path):
    refused(client.post("/predict", json={"picture": value}), 422, "base64")
    refused(client.post("/predict", data={"picture": value}, files={"words": (None, "one")}), 422, "is a text")
    numbers = {"picture": coded(echo.png()), "numbers": value}
    refused(client.post("/predict", json=numbers), 422, "Input 'numbers' holds a string")
    refused(client.post("/predict", json={**numbers, "numbers": [{"a": [value]}]}), 422, "holds a string")


TEXTS = {"type": "array", "items": {"type": "string"}}
LISTS = {"type": "object", "properties": {"steps": TEXTS, "size": {"type": "number"}}, "required": ["steps"]}
NAMED = {"type": "object", "additionalProperties": {"type": "string"}}


@pytest.mark.parametrize("form", [False, True])
@pytest.mark.parametrize(
    ("schema", "value", "passes"),
    [
        (TEXTS, ["red", "blue"], True),
        (TEXTS, [["red"]], False),
        (TEXTS, {"a": "red"}, False),
        (LISTS, {"steps": ["boil it"], "size": 2}, True),
        (LISTS, {"steps": "boil it"}, False),
        (LISTS, {"steps": [], "size": "/etc/passwd"}, False),
        (LISTS, {"steps": [], "more": "/etc/passwd"}, False),
        (NAMED, {"a": "red"}, True),
        ({"type": "array", "items": {"type": "number"}}, ["/etc/passwd"], False),
        ({}, ["/etc/passwd"], False),
    ],
)
def test_strings_pass_where_the_schema_has_them_and_nowhere_else(schema, value, passes, form):
    inputs = {"given": Input((), schema, False, None)}
    content = json.dumps(value if form else {"given": value})
    kind = "multipart/form-data; boundary=b" if form else "application/json"
    if form:
        content = f'--b\r\nContent-Disposition: form-data; name="given"\r\n\r\n{content}\r\n--b--\r\n'
    asked = read_question(Headers({"content-type": kind}), content.encode(), inputs, LIMITS)
    if passes:
        assert asyncio.run(asked) == {"given": value}
    else:
        with pytest.raises(Refusal, match="holds a string"):
            asyncio.run(asked)


def test_a_readable_file_of_the_server_is_not_given_away(client, tmp_path):
    (tmp_path / "own.png").write_bytes(echo.png())
    refused(client.post("/predict", json={"picture": str(tmp_path / "own.png")}), 422, "base64")
    name = "abcd"  # valid base64, and a file's name
    refused(client.post("/predict", json={"picture": name}), 422, "the file given")


JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=b"}


def torn(short):
    """A form that lacks its last bytes."""
    part = b'--b\r\nContent-Disposition: form-data; name="words"\r\n\r\none two\r\n--b--'
    return part[:-short]


@pytest.mark.parametrize(
    ("body", "headers", "status", "text"),
    [
        (b"{}", {"Content-Type": "text/xml"}, 415, "The body is text/xml"),
        (b"{}", {"Content-Type": ""}, 415, "of no type"),
        (b'{"words": "\xff\xfe"}', JSON, 400, "not UTF-8"),
        ('{"words": "one"}'.encode("utf-16"), JSON, 400, "not UTF-8"),
        (b'{"words": ', JSON, 400, "not JSON"),
        (b"[" * 100_000, JSON, 400, "not JSON"),
        (b'{"numbers": [NaN, 1]}', JSON, 400, "NaN is not a number"),
        (b'{"words": "one", "words": "two"}', JSON, 400, "the key 'words' is there twice"),
        (b'{"numbers": [{"a": 1, "a": 2}]}', JSON, 400, "the key 'a' is there twice"),
        (b'{"numbers": [' + b"9" * 400 + b", 1]}", JSON, 400, "beyond 64 bits"),
        (b'{"numbers": [' + b"9" * 5000 + b", 1]}", JSON, 400, "beyond 64 bits"),
        (b'{"numbers": [1e400, 1]}', JSON, 400, "beyond what a float holds"),
        (b"[1]", JSON, 422, "The JSON is not an object"),
        (b"{}", JSON, 422, "Missing: picture"),
        (b'{"words": "one"}', JSON, 422, "Missing: picture"),
        (b'{"pictur": "AAAA"}', JSON, 422, "Did you mean 'picture'?"),
        (b'{"picture": 3}', JSON, 422, "is not a string"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, "The form cannot be read"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "The form cannot be read"),
        (b"", {"Content-Type": "multipart/form-data; boundary=b"}, 422, "Missing"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b; charset=undefined"}, 415, "'undefined'"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b; charset=\xe9\x00".encode("latin-1")}, 415, "UTF-8"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b; charset=utf-16"}, 415, "UTF-8 was expected"),
        (b"x", {"Content-Type": "application/json; charset=latin-1"}, 415, "UTF-8 was expected"),
        *((torn(short), FORM, 400, "breaks off") for short in (1, 2, 5, 7, 10)),
        (b"x" * 200_001, JSON, 413, "too large"),
    ],
)
def test_bodies_that_are_refused(client, body, headers, status, text):
    refused(client.post("/predict", content=body, headers=headers), status, text)


def test_a_wrong_media_type_of_a_file(client):
    files = {"picture": ("p.html", echo.png(), "text/html")}
    refused(client.post("/predict", files=files), 415, "Input 'picture' is text/html")
    twice = [("picture", ("p", echo.png(), "image/png"))] * 2
    refused(client.post("/predict", files=twice), 422, "there twice")


def test_a_value_that_does_not_fit(client):
    question = {"picture": coded(echo.png())}
    refused(client.post("/predict", json={**question, "numbers": [1]}), 422, "Input 'numbers'")
    refused(client.post("/predict", json={**question, "words": 3}), 422, "Input 'words'")
    refused(client.post("/predict", content=b'{"picture": "AAAA", "words": "\\ud800"}', headers=JSON), 422, "Input")


def test_unknown_names(client):
    refused(client.post("/models/eco/predict", json={}), 404, "Did you mean 'echo'?")
    refused(client.get("/nothing"), 404, "Not Found")
    refused(client.get("/predict"), 405, "Method Not Allowed")


def test_several_models_are_asked_by_name(model):
    with TestClient(application({"a": model, "b": model})) as client:
        refused(client.post("/predict", json={}), 404, "Known: a, b")
        assert client.post("/models/b/predict", json={"picture": coded(echo.png())}).status_code == 200


def scope(headers, path="/predict"):
    raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    return {
        "type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": raw, "http_version": "1.1", "scheme": "http", "server": ("t", 80), "client": ("c", 1),
        "root_path": "",
    }  # fmt: skip


def drive(app, headers, messages):
    """Sends a request message by message; returns its status and how many messages were read."""
    read, sent = [], []

    async def receive():
        if len(read) == len(messages):
            await asyncio.sleep(30)
        read.append(1)
        return messages[len(read) - 1]

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope(headers), receive, send))
    return sent[0]["status"], len(read), dict(sent[0]["headers"])


def test_a_large_body_is_not_read_to_its_end(model):
    app = application({"echo": model}, Limits(body=100_000))
    part = {"type": "http.request", "body": b"x" * 10_000, "more_body": True}
    status, read, headers = drive(app, {"content-type": "application/json"}, [part] * 10_000)  # chunked
    assert (status, read) == (413, 11)
    assert headers[b"connection"] == b"close"
    said = {"content-type": "application/json", "content-length": "100000000"}
    assert drive(app, said, [part] * 10_000)[:2] == (413, 0)


def test_a_body_that_does_not_come_is_not_waited_for(model):
    app = application({"echo": model}, Limits(arrival=0.1))
    part = {"type": "http.request", "body": b"{", "more_body": True}
    assert drive(app, {"content-type": "application/json"}, [part])[0] == 408
    gone = {"type": "http.disconnect"}
    assert drive(app, {"content-type": "application/json"}, [part, gone])[0] == 400


def dripping(first, then, pause, more=1000):
    """A body that comes in pieces."""

    async def pieces():
        yield first
        for _ in range(more):
            await asyncio.sleep(pause)
            yield then

    return pieces()


def test_a_body_slower_than_the_least_rate_is_cut_off(model, monkeypatch):
    monkeypatch.setattr("sensorium.serving.body.GRACE", 0.2)

    async def run(rate, **body):
        app = application({"echo": model}, Limits(arrival=10, rate=rate))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            return await asyncio.wait_for(client.post("/predict", content=dripping(**body), headers=JSON), 5)

    refused(asyncio.run(run(1000, first=b"{", then=b" ", pause=0.01)), 408, "too slowly")
    patient = asyncio.run(run(50, first=b'{"words": "one"', then=b" ", pause=0.01, more=40))
    refused(patient, 400, "not JSON")  # 40 bytes in 0.4 s: read to its end


def test_slow_bodies_keep_nobody_out(model):
    async def run():
        app = application({"echo": model}, Limits(waiting=4))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            body = {"content": dripping(b"{", b" ", 0.05), "headers": JSON}
            slow = [asyncio.create_task(client.post("/predict", **body)) for _ in range(64)]
            await asyncio.sleep(0.2)
            answer = await asyncio.wait_for(client.post("/predict", json={"picture": coded(echo.png())}), 5)
            for task in slow:
                task.cancel()
            await asyncio.gather(*slow, return_exceptions=True)
            return answer

    assert asyncio.run(run()).status_code == 200


def test_all_bodies_together_are_bounded_and_their_memory_comes_back(model):
    async def run():
        app = application({"echo": model}, Limits(body=1000, bodies=2500))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            held = [
                asyncio.create_task(client.post("/predict", content=dripping(b"x" * 900, b"", 0.05), headers=JSON))
                for _ in range(2)
            ]
            await asyncio.sleep(0.2)
            more = await client.post("/predict", content=b"x" * 900, headers=JSON)
            for task in held:
                task.cancel()
            await asyncio.gather(*held, return_exceptions=True)
            return more, await client.post("/predict", content=b"x" * 900, headers=JSON)

    more, again = asyncio.run(run())
    refused(more, 503, "At most 2500 bytes are held")
    assert more.headers["retry-after"] == "1"
    refused(again, 400, "not JSON")


def test_a_key_is_asked_for(model):
    app = application({"echo": model}, key=digest("a-key-of-sixteen"))
    with TestClient(app) as client:
        assert client.get("/healthz").status_code == 200
        for path in ("/models", "/metrics", "/docs", "/openapi.json"):
            refused(client.get(path), 401, "no valid key")
        for header in (
            "Bearer a-key-of-sixteeN",
            "a-key-of-sixteen",
            "Basic a-key-of-sixteen",
            "Bearer ",
            "Bearer é",
            "Basic é",
            "Basic AAAA",
            "Basic /w==",
        ):
            answer = client.get("/models", headers={"Authorization": header.encode()})
            refused(answer, 401, "no valid key")
            assert answer.headers["www-authenticate"].startswith("Basic realm="), "a browser asks a person"
        assert client.get("/models", headers={"Authorization": "Bearer a-key-of-sixteen"}).status_code == 200
        assert client.get("/models", auth=("anybody", "a-key-of-sixteen")).status_code == 200
        refused(client.get("/models", auth=("a-key-of-sixteen", "")), 401, "no valid key")


OWN = ("127.0.0.1", "localhost", "::1", "box.example")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "localhost:8000"}, 200),
        ({"Host": "LOCALHOST."}, 200),
        ({"Host": "127.0.0.1"}, 200),
        ({"Host": "[::1]:8000"}, 200),
        ({"Host": "box.example:80", "Origin": "https://box.example:80"}, 200),
        ({"Host": "localhost:8000", "Origin": "http://localhost:8000"}, 200),
        ({"Host": "evil.example:8000"}, 421),
        ({"Host": "evil.example:8000", "Origin": "http://evil.example:8000"}, 421),
        ({"Host": "localhost.evil.example"}, 421),
        ({"Host": "127.0.0.1.evil.example"}, 421),
        ({"Host": "localhost@evil.example"}, 421),
        ({"Host": "[::1].evil.example"}, 421),
        ({"Host": "::2"}, 421),
        ({"Host": ""}, 421),
        ({"Host": "localhost:8000", "Origin": "http://localhost:3000"}, 403),
        ({"Host": "localhost:8000", "Origin": "http://evil.example"}, 403),
        ({"Host": "localhost:8000", "Origin": "null"}, 403),
        ({"Host": "localhost:8000", "Origin": ""}, 403),
    ],
)
def test_only_what_is_meant_for_this_server_is_answered(model, headers, status):
    with TestClient(application({"echo": model}, hosts=OWN)) as client:
        for answer in (
            client.get("/", headers=headers),
            client.post("/predict", json={"picture": coded(echo.png())}, headers=headers),
        ):
            if status == 200:
                assert answer.status_code == 200
            else:
                refused(answer, status, "The server is not called" if status == 421 else "comes from a page of")
        assert client.get("/healthz", headers=headers).status_code == 200, "load balancers know no name"


class Slow:
    """A model that answers when it is let."""

    def __init__(self, model):
        self.model, self.gate = model, asyncio.Event()

    async def describe(self):
        return await self.model.describe()

    async def ask(self, example):
        await self.gate.wait()
        return await self.model.ask(example)


def test_too_many_are_refused_at_once_and_room_comes_back(model):
    async def run():
        slow = Slow(model)
        app = application({"echo": slow}, Limits(waiting=4))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://t") as client:
            question = {"picture": coded(echo.png())}
            four = [asyncio.create_task(client.post("/predict", json=question)) for _ in range(4)]
            await asyncio.sleep(0.1)
            more = [await client.post("/predict", content=b"never read") for _ in range(40)]
            text = (await client.get("/metrics")).text
            slow.gate.set()
            first = await asyncio.gather(*four)
            again = await client.post("/predict", json=question)
            return more, first, again, text

    more, first, again, text = asyncio.run(run())
    for answer in more:
        refused(answer, 503, "4 requests under way")
        assert answer.headers["retry-after"] == "1"
    assert [answer.status_code for answer in (*first, again)] == [200] * 5
    assert 'sensorium_rejected_total{model="echo"} 40.0' in text
    assert 'sensorium_waiting{model="echo"} 4.0' in text


def test_a_model_that_does_not_answer_is_not_waited_for(model):
    async def run():
        app = application({"echo": Slow(model)}, Limits(answer=0.1))
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            return await client.post("/predict", json={"picture": coded(echo.png())})

    refused(asyncio.run(run()), 504, "did not answer within 0.1 s")


def test_an_end_answers_what_has_come_and_takes_no_more(model):
    async def run():
        slow = Slow(model)
        app = application({"echo": slow})
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as client:
            question = {"picture": coded(echo.png())}
            begun = [asyncio.create_task(client.post("/predict", json=question)) for _ in range(3)]
            await asyncio.sleep(0.1)
            assert await app.state.service.drain(0.1) == 3
            end = asyncio.create_task(app.state.service.drain(10))
            await asyncio.sleep(0)
            late = await client.post("/predict", json=question)
            slow.gate.set()
            return await asyncio.gather(*begun), late, await end

    begun, late, left = asyncio.run(run())
    assert [answer.status_code for answer in begun] == [200] * 3
    refused(late, 503, "The server is ending")
    assert late.headers["retry-after"] == "1"
    assert left == 0


class Refusing:
    """A model whose newer version could not be served."""

    def __init__(self, model):
        self.model, self.refused = model, ""

    async def describe(self):
        return dataclasses.replace(await self.model.describe(), refused=self.refused)


def test_models_say_which_version_was_refused(model):
    backend = Refusing(model)
    with TestClient(application({"echo": backend})) as client:
        assert client.get("/models").json()["models"]["echo"]["refused"] == ""
        backend.refused = "echo/2: It cannot be read."
        assert client.get("/models").json()["models"]["echo"]["refused"] == "echo/2: It cannot be read."


class Broken:
    """A model that fails."""

    def __init__(self, model):
        self.model = model

    async def describe(self):
        return await self.model.describe()

    async def ask(self, example):
        raise ZeroDivisionError("secret")


def test_a_failure_is_a_sentence_without_its_details(model):
    with TestClient(application({"echo": Broken(model)}), raise_server_exceptions=False) as client:
        answer = client.post("/predict", json={"picture": coded(echo.png())})
        refused(answer, 500, "The server failed")
        assert "secret" not in answer.text


def test_what_there_is(client):
    assert client.get("/healthz").json() == {"status": "ok"}
    found = client.get("/models").json()["models"]["echo"]
    assert found["version"] == "echo/1"
    assert found["inputs"]["words"]["schema"] == {"type": "string"}
    assert not found["inputs"]["picture"]["optional"]
    client.post("/predict", json={"picture": coded(echo.png())})
    text = client.get("/metrics").text
    assert 'sensorium_requests_total{model="echo",status="200"}' in text
    assert "sensorium_request_seconds_bucket" in text
    assert 'sensorium_batch_size_bucket{le="1.0",model="echo"}' in text


@pytest.mark.parametrize(
    "path", ["/", "/docs", "/models/echo/page", "/openapi.json", "/models", "/healthz", "/metrics", "/nothing"]
)
def test_no_answer_has_a_browser_ask_another_host(client, path):
    answer = client.get(path)
    named = set(re.findall(r"(?:https?:)?//[a-z0-9.-]+\.[a-z]+", answer.text + str(answer.headers)))
    assert named <= {"http://www.w3.org"}, "the name space of SVG"
    if answer.headers["content-type"].startswith("text/html"):
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'sha256-")
        assert "connect-src 'self'" in policy
        for script in re.findall("<script>(.*?)</script>", answer.text, re.DOTALL):
            assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() in policy
        assert "style=" not in answer.text, "which the policy forbids"


def test_the_document_is_true(client):
    """Its own examples are taken, and the answers fit its schemas."""
    import jsonschema

    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    assert set(document["paths"]) == {"/models/echo/predict", "/predict", "/healthz", "/models", "/metrics"}
    operation = document["paths"]["/models/echo/predict"]["post"]
    assert operation["summary"] == "Gives back what it is given."
    content = operation["requestBody"]["content"]
    asked = content["application/json"]
    assert asked["schema"]["required"] == ["picture"]
    assert asked["schema"]["properties"]["numbers"]["maxItems"] == 2
    assert content["multipart/form-data"]["schema"]["properties"]["picture"] == {"type": "string", "format": "binary"}
    assert "audio/flac" in content["multipart/form-data"]["encoding"]["sound"]["contentType"]
    jsonschema.validate(asked["example"], asked["schema"])
    answer = client.post("/models/echo/predict", json={**asked["example"], "sound": coded(echo.sound())})
    assert answer.status_code == 200, answer.text
    given = operation["responses"]["200"]["content"]
    assert {"image/png", "audio/wav", "application/json"} == set(given)
    jsonschema.validate(answer.json(), given["application/json"]["schema"])
    jsonschema.validate(given["application/json"]["example"], given["application/json"]["schema"])
    error = client.post("/predict", json={}).json()
    jsonschema.validate(error, document["components"]["schemas"]["Error"])


def test_a_refusal_travels_between_processes():
    import pickle

    refusal = pickle.loads(pickle.dumps(Refusal(422, "a", "b", "c", {"d": "e"})))
    assert (refusal.status, refusal.wrong, refusal.expected, refusal.hint) == (422, "a", "b", "c")
    assert refusal.headers == {"d": "e"}
