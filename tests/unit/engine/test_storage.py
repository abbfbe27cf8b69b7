"""Storage by URI: what reads it is named, and no bucket comes into being by a mistyped name."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from sensorium import UserError
from sensorium.engine import storage
from sensorium.engine.checkpoint import Store
from sensorium.training import runs


class Buckets(MemoryFileSystem):
    """A store of buckets, which come into being as its folders are made."""

    protocol = ("s3", "s3a")
    store: dict = {}  # noqa: RUF012 (as that of the class above)
    pseudo_dirs = [""]  # noqa: RUF012

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.removeprefix("s3://"))

    def pipe_file(self, path, value, **options):
        bucket = self._strip_protocol(path).strip("/").partition("/")[0]
        if f"/{bucket}" not in self.pseudo_dirs:
            raise FileNotFoundError(f"The specified bucket does not exist: {bucket}")
        return super().pipe_file(path, value, **options)

    def put_file(self, local, path, **options):
        with open(local, "rb") as file:  # noqa: PTH123
            self.pipe_file(path, file.read())


@pytest.fixture
def buckets(monkeypatch):
    """A store with one bucket, `there`."""
    monkeypatch.setattr(Buckets, "store", {})
    monkeypatch.setattr(Buckets, "pseudo_dirs", ["", "/there"])
    monkeypatch.setitem(_registry, "s3", Buckets)
    Buckets.clear_instance_cache()
    yield Buckets
    Buckets.clear_instance_cache()


def test_what_reads_a_uri_is_named():
    with pytest.raises(UserError, match=r"pip install 'sensorium\[gcs\]'"):
        storage.files_at("gs://bucket/runs")
    with pytest.raises(UserError, match="nonsense://x cannot be reached"):
        storage.files_at("nonsense://x")


def test_the_memory_of_a_process_is_not_storage_and_folders_are(tmp_path):
    with pytest.raises(UserError, match=r"run\.storage is memory://x"):
        storage.check("memory://x", "run.storage")
    storage.check(str(tmp_path), "run.storage")


def test_a_bucket_that_is_not_there_stays_away(buckets):
    with pytest.raises(UserError, match=r"s3://their/run cannot be written: .*does not exist: their.*Check the bucket"):
        runs.write("s3://their/run", "run.json", "{}")
    assert buckets.pseudo_dirs == ["", "/there"]


def test_in_a_bucket_that_is_there_runs_and_checkpoints_are_kept(buckets):
    runs.write("s3://there/run", "run.json", "{}")
    assert runs.read("s3://there/run", "run.json") == "{}"
    store = Store("s3://there/run/checkpoints")
    store.save(1, {}, {"state": {"a": 1}})
    store.wait()
    assert store.latest().document("state") == {"a": 1}
