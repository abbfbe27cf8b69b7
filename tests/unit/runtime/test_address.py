"""From a name to a connection: what answers is looked at first, and what is wrong is one sentence, soon."""

import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sensorium.errors import SensoriumError, UserError
from sensorium.runtime import address, cluster, laptop
from sensorium.runtime.description import Node, Ports
from sensorium.runtime.listening import Port


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE", "RAY_API_SERVER_ADDRESS"):
        monkeypatch.setenv(name, "")  # so that what is set below is undone
        monkeypatch.delenv(name)


@pytest.fixture
def server():
    """A dashboard that takes a token, if one is set."""

    class Answer(BaseHTTPRequestHandler):
        token, said = "", b'{"ray_version": "2.60.0"}'

        def do_GET(self):
            given = self.headers.get("Authorization", "")
            right = not Answer.token or given == f"Bearer {Answer.token}"
            self.send_response(200 if right else 403 if given else 401)
            self.end_headers()
            if right:
                self.wfile.write(Answer.said)

        def log_message(self, *arguments):
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    Answer.port = listening.server_address[1]
    Answer.address = f"http://127.0.0.1:{Answer.port}"
    yield Answer
    listening.shutdown()


def started(tmp_path, port, token="right"):
    found = laptop.Cluster("toy", "toy-1", Ports(control=5000, dashboard=port, client=5001), tmp_path, {})
    found.members["head"] = laptop.Member(Node(), "127.0.0.2", [])
    found.token.parent.mkdir(parents=True)
    found.token.write_text(token)
    found._write()
    return found


def test_without_a_token_none_is_asked_for(server):
    assert address.jobs_address(server.address + "/") == server.address
    assert "RAY_AUTH_MODE" not in os.environ


def test_a_token_is_found_where_ray_looks_for_it(server, tmp_path, monkeypatch):
    server.token = "right"
    with pytest.raises(UserError, match="asks for a token, and there is none"):
        address.jobs_address(server.address)
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("right\n")
    assert address.jobs_address(server.address) == server.address
    assert os.environ["RAY_AUTH_MODE"] == "token"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "wrong-s3cret")
    with pytest.raises(UserError, match="does not take the token") as caught:
        address.jobs_address(server.address)
    assert "s3cret" not in str(caught.value)


def test_a_cluster_of_this_machine_is_found_by_name_and_its_token_taken(server, tmp_path, monkeypatch):
    server.token = "right"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of another cluster")
    found = started(tmp_path, server.port)
    assert address.jobs_address("toy") == server.address
    assert os.environ["RAY_AUTH_TOKEN_PATH"] == str(found.token)
    assert "RAY_AUTH_TOKEN" not in os.environ
    assert address.is_here(server.address)
    assert address.is_here("toy")
    assert not address.is_here("http://10.0.0.1:8265")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("http://127.0.0.1:9", "There is no Ray cluster at http://127.0.0.1:9: .*refused"),
        ("http://192.0.2.1:8265", "There is no Ray cluster at"),
        ("http://no.such.host.invalid:8265", "There is no Ray cluster at"),
        ("laptob", "'laptob' is not an address that takes jobs"),
        ("ray://127.0.0.1:10001", "is not an address that takes jobs"),
        (None, "No cluster is named, and none was started here"),
    ],
)
def test_a_bad_address_for_jobs_is_a_sentence_soon(given, said):
    begin = time.monotonic()
    with pytest.raises(UserError, match=said):
        address.jobs_address(given)
    assert time.monotonic() - begin < 8


def test_what_is_not_ray_is_told(server):
    server.said = b"hello"
    with pytest.raises(UserError, match="what answers is not Ray"):
        address.jobs_address(server.address)


@pytest.mark.parametrize("given", ["127.0.0.1:9", "ray://127.0.0.1:9", "192.0.2.1:6379", "laptob", "10.0.0.1"])
def test_a_bad_address_to_join_is_a_sentence_soon(given):
    begin = time.monotonic()
    with pytest.raises(UserError, match=r"There is no Ray cluster at|is not an address of a Ray cluster"):
        address.join(given)
    assert time.monotonic() - begin < 8


def test_join_leaves_rays_own_words_alone():
    assert address.join("auto") == "auto"
    assert address.join("local") == "local"


def test_the_doctor_tells_of_a_dashboard_without_a_token(server, monkeypatch):
    monkeypatch.setattr(cluster, "beyond_loopback", list)
    assert cluster.access(None) == "what runs here listens on loopback alone"
    assert "is open to this machine alone" in cluster.access(server.address)
    monkeypatch.setattr(cluster, "is_loopback", lambda host: False)
    with pytest.raises(SensoriumError, match="takes jobs from anybody"):
        cluster.access(server.address)
    server.token = "right"
    assert "asks for a token" in cluster.access(server.address)
    assert "does not answer" in cluster.access("http://127.0.0.1:9")


def test_the_doctor_tells_of_ports_beyond_loopback(monkeypatch):
    monkeypatch.setattr(cluster, "beyond_loopback", lambda: [Port(6379, "control store", guarded=False)])
    with pytest.raises(SensoriumError, match=r"listens beyond this machine, at port 6379 \(control store\)"):
        cluster.access(None)
    monkeypatch.setattr(cluster, "beyond_loopback", lambda: [Port(1, "raylet", True), Port(2, "agent", True)])
    assert "beyond loopback at port 1 (raylet), 2 (agent)" in cluster.access(None)
