"""Storage by URI: what reads it is named, and no bucket comes into being by a mistyped name."""

import pytest

from sensorium import UserError
from sensorium.engine import storage
from sensorium.engine.checkpoint import Store
from sensorium.training import runs


def test_what_reads_a_uri_is_named():
    with pytest.raises(UserError, match=r"pip install 'sensorium\[gcs\]'"):
        storage.files_at("gs://bucket/runs")
    with pytest.raises(UserError, match="nonsense://x cannot be reached"):
        storage.files_at("nonsense://x")


def test_the_memory_of_a_process_is_not_storage_and_folders_are(tmp_path):
    with pytest.raises(UserError, match=r"run\.storage is memory://x"):
        storage.check("memory://x", "run.storage")
    storage.check(str(tmp_path), "run.storage")


@pytest.mark.parametrize("uri", ["s3:/bucket/runs", "s3:bucket/runs", "gs:/bucket/runs", "file:/runs"])
def test_a_uri_that_lacks_a_slash_makes_no_folder(uri):
    with pytest.raises(UserError, match=r"run\.storage is .* two slashes\. Did you mean (s3|gs|file)://"):
        storage.check(uri, "run.storage")


def test_a_file_system_that_fails_at_once_is_told():
    with pytest.raises(UserError, match=r"The server of ftp://127\.0\.0\.1:9/x cannot be reached"):
        storage.check("ftp://127.0.0.1:9/x", "run.storage")


def test_a_bucket_that_is_not_there_stays_away(buckets):
    with pytest.raises(UserError, match=r"s3://their/run cannot be written: .*does not exist: their.*Check the bucket"):
        runs.write("s3://their/run", "run.json", "{}")
    assert buckets.pseudo_dirs == ["", "/there"]


class EndpointConnectionError(Exception):
    """As botocore calls it, which knows nothing of OSError."""


class NoCredentialsError(Exception):
    """As botocore calls it."""


def of(cause, outer):
    """Returns an error as a library raises it that wraps others."""
    outer.__cause__ = cause
    return outer


AWAY = [
    EndpointConnectionError("Could not connect"),
    of(ConnectionRefusedError(), OSError("no reason")),
    of(TimeoutError(), UserError("The picture cannot be opened.")),
]


@pytest.mark.parametrize("cause", AWAY)
def test_a_server_that_is_away_is_told_from_what_is_wrong(cause):
    assert storage.is_away(cause)
    assert str(storage.fault("s3://b/runs", cause)).startswith("The server of s3://b/runs cannot be reached: ")
    assert not storage.is_away(FileNotFoundError("x"))
    assert not storage.is_away(UserError("The picture is cut short."))


@pytest.mark.parametrize("cause", [PermissionError("Forbidden"), NoCredentialsError("Unable to locate credentials")])
def test_refused_credentials_are_told_as_such_on_a_server_alone(cause):
    assert str(storage.fault("s3://b/runs", cause)).startswith("The credentials for s3://b/runs are refused: ")
    assert "Set run.storage to a folder that can" in str(storage.fault("/etc/runs", cause))


@pytest.fixture
def clock(monkeypatch):
    """Time that passes while somebody sleeps; yields the pauses."""
    pauses = []
    monkeypatch.setattr(storage.time, "monotonic", lambda: sum(pauses))
    monkeypatch.setattr(storage.time, "sleep", pauses.append)
    return pauses


def test_a_server_that_comes_back_is_waited_for(clock):
    attempts = iter([*AWAY, None])

    def call():
        if cause := next(attempts):
            raise cause
        return "written"

    assert storage.persistent(call) == "written"
    assert clock == [0.25, 0.5, 1]


def test_one_that_stays_away_is_not_waited_for_for_ever(clock):
    def call():
        raise EndpointConnectionError

    with pytest.raises(EndpointConnectionError):
        storage.persistent(call, 20)
    assert 20 <= sum(clock) <= 25
    with pytest.raises(EndpointConnectionError):
        storage.persistent(call, 0)


def test_what_waiting_does_not_mend_is_raised_at_once(clock):
    def call():
        raise PermissionError

    with pytest.raises(PermissionError):
        storage.persistent(call)
    assert clock == []


def test_in_a_bucket_that_is_there_runs_and_checkpoints_are_kept(buckets):
    runs.write("s3://there/run", "run.json", "{}")
    assert runs.read("s3://there/run", "run.json") == "{}"
    store = Store("s3://there/run/checkpoints")
    store.save(1, {}, {"state": {"a": 1}})
    store.wait()
    assert store.latest().document("state") == {"a": 1}
