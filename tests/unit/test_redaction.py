"""What counts as a password in a text, and that MLflow is asked with it all the same."""

import http.server
import json
import threading
from base64 import b64encode

import pytest

from sensorium.errors import UserError
from sensorium.redaction import confided, redacted, reveals
from sensorium.secrets import check_address, is_secret_variable
from sensorium.tracking import uri as uris

HIDES = {
    "http://me:pw@h:5000/x": "http://***@h:5000/x",
    "https://token@h": "https://***@h",
    "HTTPS://me:p@ss:w/rd@h/x": "HTTPS://***@h/x",
    "postgresql+psycopg2://me:pw@h/d": "postgresql+psycopg2://***@h/d",
    "postgresql://:pw@h/d": "postgresql://***@h/d",
    "mysql://h/d?user=me&password=pw&ssl=1": "mysql://h/d?user=me&password=***&ssl=1",
    "https://h/x?api_key=1;X-Amz-Signature=2": "https://h/x?api_key=***;X-Amz-Signature=***",
    "https://h/x?access_token=a=b": "https://h/x?access_token=***",
    "no http://a:b@h and no http://c:d@i": "no http://***@h and no http://***@i",
}
SHOWS = (
    *("sqlite:////home/me/x.db", "http://h:5000", "postgresql://me@h/d", "s3://bucket/me@x", "a@b.c", "databricks"),
    *("postgresql://h/d?passfile=/home/me/.pgpass&sslkey=/k.pem", "ray://10.0.0.1:10001", "key.path=value"),
)


@pytest.mark.parametrize(("text", "hidden"), HIDES.items())
def test_a_password_is_hidden_and_nothing_else(text, hidden):
    assert redacted(text) == hidden
    assert redacted(hidden) == hidden
    assert reveals(text)
    assert not reveals(hidden)
    assert is_secret_variable("SOMETHING_URI", text)
    assert str(UserError(text, text, text)) == f"{hidden} {hidden} {hidden}"
    for either in (text, hidden):
        with pytest.raises(UserError, match="holds a password"):
            check_address(either, "An address")


@pytest.mark.parametrize("text", SHOWS)
def test_what_is_no_password_is_shown(text):
    assert redacted(text) == text
    assert not is_secret_variable("SOMETHING_URL", text)
    check_address(text, "An address")


@pytest.mark.parametrize(
    "name", ["PROXY_AUTHORIZATION", "db_pass", "MY_PASSPHRASE", "GITHUB_TOKEN", "AWS_ACCESS_KEY_ID", "PGUSER"]
)
def test_variables_are_secret_by_name(name):
    assert is_secret_variable(name, "x")


@pytest.fixture
def server(monkeypatch):
    """An MLflow server without experiments that asks for a password; yields its port and what it was shown."""
    shown = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            shown.append(self.headers.get("Authorization"))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            body = json.dumps({"experiments": []}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815

        def log_message(self, *_):
            pass

    for name in (uris.VARIABLE, uris.CONFIDED):
        monkeypatch.setenv(name, "")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found.server_port, shown
        found.shutdown()


@pytest.mark.parametrize("how", ["variable", "experiment"])
def test_mlflow_is_asked_with_the_password(server, monkeypatch, how):
    from sensorium.tracking.records import count_experiments

    port, shown = server
    address, hidden = f"http://me:pw@127.0.0.1:{port}", f"http://***@127.0.0.1:{port}"
    if how == "variable":
        monkeypatch.setenv(uris.VARIABLE, address)
        uri = uris.default_uri()
    else:
        uri = confided(address)
    assert uris.check_uri(uri) == uri == hidden
    assert count_experiments(uri) == 0
    assert set(shown) == {f"Basic {b64encode(b'me:pw').decode()}"}


def test_a_password_that_is_not_known_is_asked_for_at_once(server):
    with pytest.raises(UserError, match="is not known here") as caught:
        uris.check_uri("http://***@h")
    assert uris.VARIABLE in caught.value.hint
