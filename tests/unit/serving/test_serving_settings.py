"""Settings: typed, bounded, and without the key."""

import pytest

from sensorium.errors import UserError
from sensorium.serving.settings import KEY, check, digest, key_from_environment, shared


def test_a_registry_that_is_away_is_told_before_ray_is_started(monkeypatch):
    from sensorium.runtime import serve_run

    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(serve_run, "connect", lambda *_, **__: pytest.fail("Ray was started"))
    for model in ("models:/digits/1", "models:/digits@champion", "runs:/0123/model"):
        settings = check({"models": {"digits": {"model": model}}})
        serving = serve_run.running(settings, "127.0.0.1", 8000, None)
        with pytest.raises(UserError, match=r"The MLflow server at .* cannot be reached"):
            serving.__enter__()


def test_a_typo_is_refused():
    with pytest.raises(UserError, match=r"models\.a\.modle: "):
        check({"models": {"a": {"model": "x", "modle": "x"}}})
    with pytest.raises(UserError, match=r"limits\.body: "):
        check({"models": {"a": {"model": "x"}}, "limits": {"body": 0}})
    with pytest.raises(UserError, match="models"):
        check({"models": {}})


def test_only_a_digest_of_the_key_is_kept(monkeypatch):
    monkeypatch.setenv(KEY, "canary-" * 4)
    key = key_from_environment()
    assert key == digest("canary-" * 4)
    assert "canary" not in repr(check({"models": {"a": {"model": "x"}}, "key": key}))
    monkeypatch.setenv(KEY, "short")
    with pytest.raises(UserError, match="5 characters"):
        key_from_environment()
    monkeypatch.delenv(KEY)
    assert key_from_environment() == ""


@pytest.mark.parametrize("key", [" " * 20, "k" * 16 + "\n", "k" * 16 + "é", "k" * 8 + "\t" + "k" * 8, "k k" * 6])
def test_a_key_that_a_header_does_not_carry_is_refused(monkeypatch, key):
    monkeypatch.setenv(KEY, key)
    with pytest.raises(UserError, match="has a blank, a line's end, or a character outside ASCII"):
        key_from_environment()


def test_on_loopback_the_server_knows_its_names():
    from sensorium.runtime.serve_run import called

    plain = {"models": {"a": {"model": "m"}}}
    assert called(check(plain), "127.0.0.1").hosts == ("127.0.0.1", "localhost", "::1")
    assert called(check(plain), "0.0.0.0").hosts == ()
    named = called(check({**plain, "hosts": ["box.example"]}), "0.0.0.0")
    assert set(named.hosts) == {"127.0.0.1", "localhost", "::1", "0.0.0.0", "box.example"}


def test_beyond_loopback_a_key_is_needed(monkeypatch):
    from sensorium.runtime.serve_run import check_host

    monkeypatch.delenv(KEY, raising=False)
    check_host("127.0.0.1")
    with pytest.raises(UserError, match="no key is set"):
        check_host("0.0.0.0")
    monkeypatch.setenv(KEY, "k" * 16)
    check_host("0.0.0.0")


def test_a_file_for_serve_deploy_comes_back_and_holds_no_key(monkeypatch):
    import yaml

    from sensorium.runtime.serve_run import called, document, from_document

    monkeypatch.setenv(KEY, "canary-" * 4)
    settings = check({"models": {"a": {"model": "m", "num_gpus": 0.5}}, "key": key_from_environment()})
    text = yaml.safe_dump(document(settings, "127.0.0.1", 8123))
    assert digest("canary-" * 4) not in text
    assert from_document(yaml.safe_load(text)) == (called(settings, "127.0.0.1"), "127.0.0.1", 8123)
    with pytest.raises(UserError, match="no application 'sensorium'"):
        from_document({"applications": []})


def test_haproxy_listens_on_loopback_and_lets_no_connection_idle(tmp_path):
    import subprocess
    from pathlib import Path

    from sensorium.runtime.serve_profile import variables

    found = variables(tmp_path, 8000)
    config = tmp_path / "c.cfg"
    config.write_text(
        f"defaults\n    mode http\nfrontend prometheus\n    bind :{found['RAY_SERVE_HAPROXY_METRICS_PORT']}\n"
        "frontend http_frontend\n    bind 127.0.0.1:8000\nlisten stats\n"
        f"  bind *:{found['RAY_SERVE_HAPROXY_STATS_PORT']}\n"
    )
    script = found["RAY_SERVE_HAPROXY_BINARY_PATH"]
    assert Path(script).stat().st_mode & 0o777 == 0o700
    done = subprocess.run([script, "-db", "-f", str(config), "-c"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = config.read_text()
    assert f"    bind 127.0.0.1:{found['RAY_SERVE_HAPROXY_METRICS_PORT']}\n" in text
    assert f"  bind 127.0.0.1:{found['RAY_SERVE_HAPROXY_STATS_PORT']}\n" in text
    assert "timeout http-request 10s" in text


@pytest.mark.parametrize(
    ("models", "cores", "shares"),
    [
        ({"a": {}}, 4, {"a": 4.0}),
        ({"a": {}, "b": {}}, 3, {"a": 1.0, "b": 1.0}),
        ({"a": {"replicas": (1, 4)}}, 2, {"a": 0.5}),
        ({"a": {"num_cpus": 3}, "b": {}}, 4, {"a": 3.0, "b": 1.0}),
        ({"a": {"num_cpus": 4}, "b": {}}, 4, {"a": 4.0, "b": 0.1}),
    ],
)
def test_cores_are_shared_among_replicas_that_were_given_none(models, cores, shares):
    settings = check({"models": {name: {"model": "m", **options} for name, options in models.items()}})
    assert {name: served.num_cpus for name, served in shared(settings, cores).models.items()} == shares
