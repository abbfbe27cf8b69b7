"""A store of buckets in memory."""

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry


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
