"""Reading photographs from shards: our `Loader` in blocks, against webdataset and MosaicML Streaming, two readers each.

Run `python tests/benchmarks/shard_loading.py`. The photographs of tiny_coco (about 640 x 480 pixels, in the folder
SENSORIUM_TEST_DATA) are written over and over into shards of a hundred, as tar files and as Streaming's MDS. They are
shuffled and become normalised pictures of 224 x 224 in batches of 64, in turns: by `Loader` with two threads and the
modality `image`; by webdataset and by Streaming, each with two workers of torch's DataLoader and what a user writes
with Pillow and torchvision. `--afar` reads them by HTTP from a server on loopback that answers 50 ms late, each turn
anew; Streaming is given a downloader for that. The speed of a turn counts from its third batch. webdataset and
mosaicml-streaming are no part of Sensorium: what is not installed is left out.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import os
import shutil
import tarfile
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from contextlib import suppress
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from image_loading import BATCH, UserTransform, speed
from timing import ratio, show, take_turns, verdict
from torch.utils.data import DataLoader

from sensorium.builtin.datasets.cache import Cache
from sensorium.builtin.datasets.webdataset import WebDataset
from sensorium.builtin.modalities.image import Image
from sensorium.contracts.dataset import shards_of
from sensorium.engine.loader import Loader
from sensorium.engine.order import Order

READERS = 2
IN_SHARD = 100
DELAY = 0.05
"""Seconds after which the server begins to answer."""


class Late(SimpleHTTPRequestHandler):
    """Files and ranges of them, after a while."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Answers with a file, or a range of it."""
        self._answer(body=True)

    def do_HEAD(self) -> None:
        """Answers with its size."""
        self._answer(body=False)

    def log_message(self, *_: Any) -> None:
        """Says nothing."""

    def _answer(self, body: bool) -> None:
        time.sleep(DELAY)
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        size = path.stat().st_size
        start, end = 0, size
        if asked := self.headers.get("Range"):
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, end = int(first), min(int(last) + 1, size) if last else size
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", f'"{size}"')
        self.end_headers()
        if body:
            with path.open("rb") as file, suppress(ConnectionError):
                file.seek(start)
                self.wfile.write(file.read(end - start))


def serve(folder: Path, told: Any) -> None:
    """Serves a folder until it is ended."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), lambda *of: Late(*of, directory=str(folder)))
    told.put(server.server_port)
    server.serve_forever()


def write(folder: Path, pictures: list[bytes], samples: int) -> None:
    """Writes the shards of both kinds, with our index beside the tar files."""
    (folder / "tars").mkdir()
    for first in range(0, samples, IN_SHARD):
        with tarfile.open(folder / "tars" / f"{first // IN_SHARD:04}.tar", "w") as archive:
            for number in range(first, min(first + IN_SHARD, samples)):
                content = pictures[number % len(pictures)]
                info = tarfile.TarInfo(f"{number:06}.jpg")
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    ours(str(folder / "tars"), folder / "index", samples)
    for path in (folder / "tars").glob("*.json"):  # a server tells no time of writing
        text = path.read_text()
        start = text.index('"modified": "') + len('"modified": "')
        path.with_name(path.name).write_text(text[:start] + text[text.index('"', start) :])
    if find_spec("streaming"):
        from streaming import MDSWriter

        limit = IN_SHARD * sum(map(len, pictures)) // len(pictures)
        with MDSWriter(out=str(folder / "mds"), columns={"image": "bytes"}, size_limit=limit) as writer:
            for number in range(samples):
                writer.write({"image": pictures[number % len(pictures)]})


def ours(place: str, cache: Path, samples: int) -> Any:
    """Returns the split of the tar files of a folder or address."""
    shards = f"{place}/{{0000..{(samples - 1) // IN_SHARD:04}}}.tar"
    return WebDataset.Config(train=shards, cache=Cache(folder=str(cache))).build().open("train")


def with_loader(place: str, cache: Path, samples: int) -> float:
    """Returns images a second of ours."""
    split = ours(place, cache, samples)
    order = Order(samples, BATCH, 0, np.asarray(shards_of(split)))
    plan = ((None, indices) for indices in order.shares(0, 0, 0, 1))
    with Loader(split, {"image": Image(Image.Config(size=224))}, READERS) as loader:
        return speed(loader.stream(plan))


def with_webdataset(place: str, samples: int) -> float:
    """Returns images a second of webdataset."""
    import webdataset

    read = UserTransform(train=False)
    shards = f"{place}/{{0000..{(samples - 1) // IN_SHARD:04}}}.tar"
    data = webdataset.WebDataset(shards, shardshuffle=100, empty_check=False).shuffle(1000)
    data = data.map(lambda sample: read(io.BytesIO(sample["jpg"]))).batched(BATCH, collation_fn=torch.stack)
    return speed(DataLoader(data, batch_size=None, num_workers=READERS))


def with_streaming(remote: str | None, local: Path) -> float:
    """Returns images a second of MosaicML Streaming."""
    from streaming import StreamingDataset
    from streaming.base.storage.download import DOWNLOADER_MAPPINGS, CloudDownloader
    from streaming.base.util import clean_stale_shared_memory

    class ByHTTP(CloudDownloader):  # type: ignore[misc]
        """What Streaming lacks: files by HTTP, each with one request."""

        _client_identifier = staticmethod(lambda: "http")

        def clean_up(self) -> None:
            """Has nothing to clean up."""

        def _download_file_impl(self, remote: str, local: str, timeout: float) -> None:
            part = Path(f"{local}.{os.getpid()}.{threading.get_ident()}")
            with urllib.request.urlopen(remote, timeout=timeout) as answer, part.open("wb") as file:
                shutil.copyfileobj(answer, file, 1 << 20)
            part.replace(local)

    DOWNLOADER_MAPPINGS["http"] = ByHTTP

    read = UserTransform(train=False)

    class Pictures(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: int) -> Any:
            return read(io.BytesIO(super().__getitem__(index)["image"]))

    clean_stale_shared_memory()
    data = Pictures(remote=remote, local=str(local), shuffle=True, batch_size=BATCH)
    return speed(DataLoader(data, BATCH, num_workers=READERS))


def main() -> None:
    """Measures, and prints the ratios at the end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="turns of each")
    parser.add_argument("--samples", type=int, default=2000, help="photographs of a turn")
    parser.add_argument("--afar", action="store_true", help="from a server that answers late")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = Path(os.environ.get("SENSORIUM_TEST_DATA", "")) / "tiny_coco" / "train2017"
    pictures = [path.read_bytes() for path in sorted(source.glob("*.jpg"))]
    if not pictures:
        parser.error(f"no pictures in {source}: set SENSORIUM_TEST_DATA to the folder of real data")
    folder = Path(tempfile.mkdtemp())
    write(folder, pictures, options.samples)
    process = None
    tars, mds, fresh = str(folder / "tars"), None, 0
    if options.afar:
        fork = multiprocessing.get_context("fork")
        told = fork.Queue()
        process = fork.Process(target=serve, args=(folder, told), daemon=True)
        process.start()
        address = f"http://127.0.0.1:{told.get()}"
        tars, mds = f"{address}/tars", f"{address}/mds"
    try:

        def place() -> Path:
            nonlocal fresh
            fresh += 1
            shutil.rmtree(folder / f"fresh{fresh - 1}", ignore_errors=True)
            return folder / f"fresh{fresh}"

        runs: dict[str, Callable[[], float]] = {"Loader": lambda: with_loader(tars, place(), options.samples)}
        if find_spec("webdataset"):
            runs["webdataset"] = lambda: with_webdataset(tars, options.samples)
        if find_spec("streaming"):
            runs["Streaming"] = lambda: with_streaming(mds, place() if options.afar else folder / "mds")
        results = take_turns(runs, options.repeat)
        show(f"shards {'50 ms afar' if options.afar else 'at hand'}", results, "images/s")
        least = {"webdataset": 1.5 if options.afar else 1.3, "Streaming": 1.0 if options.afar else 1.3}
        for name in list(runs)[1:]:
            print(verdict(f"Loader / {name}", ratio(results, "Loader", name), least=least[name]))
        if len(runs) == 1:
            print("pip install webdataset mosaicml-streaming to compare")
    finally:
        if process is not None:
            process.terminate()
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
