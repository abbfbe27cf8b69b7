"""A store of buckets in memory, in the place of S3."""

from fsspec.implementations.memory import MemoryFileSystem


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
