"""Sixty-four clients, a third of their requests hostile, on real Serve: is every honest answer right, and in time?

Run `python tests/benchmarks/serve_hostile.py`. The exit status is 1 where something does not hold: each honest answer
equals `predict`; what is not answered is 503 with Retry-After; a hostile request gets a 4xx or such a 503; `/healthz`
answers within a second; and the memory at the end lies within a tenth of what it was after a fifth of the time.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import contextlib
import io
import json
import random
import sys
import time
import zlib
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import psutil
from PIL import Image as Pillow
from served import sensorium, train, workplace

CLIENTS = 64
WAIT = aiohttp.ClientTimeout(total=60)
TINY = ("training.epochs=0", "tracking.system=false", "modalities.image={name: image, size: 16, channels: 3}")
PICTURES = 8


def png(seed: int) -> bytes:
    """Returns a small picture."""
    buffer = io.BytesIO()
    Pillow.frombytes("RGB", (64, 64), random.Random(seed).randbytes(64 * 64 * 3)).save(buffer, "PNG")
    return buffer.getvalue()


def bomb() -> bytes:
    """Returns a picture that claims 40,000 x 40,000 pixels."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    side = (40_000).to_bytes(4, "big")
    header = chunk(b"IHDR", side + side + b"\x08\x02\x00\x00\x00")
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"\0" * 100_000)) + chunk(b"IEND", b"")


async def dripping() -> AsyncIterator[bytes]:
    """Yields a body slower than anybody means to send one."""
    for _ in range(20):
        yield b'{"image": "'
        await asyncio.sleep(0.5)


def hostile(source: random.Random) -> dict[str, Any]:
    """Returns what a request is made of: options of aiohttp's `post`."""
    good = base64.b64encode(png(source.randrange(PICTURES))).decode()
    plain = {"Content-Type": "application/json"}
    form = "multipart/form-data; boundary=x"
    torn = b'--x\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n' + png(0)[:-20]
    # Weight and request; large and slow bodies are rare, for sending them takes the cores that answer.
    requests: list[tuple[float, Callable[[], dict[str, Any]]]] = [
        (3, lambda: {"json": {"image": base64.b64encode(source.randbytes(2000)).decode()}}),
        (1, lambda: {"json": {"image": base64.b64encode(bomb()).decode()}}),
        (3, lambda: {"json": {"image": good[:-200]}}),
        (3, lambda: {"json": {"image": good, "other": 1}}),
        (3, lambda: {"json": {"image": "/etc/passwd"}}),
        (1, lambda: {"data": b'{"image": ' + b"[" * 5000, "headers": plain}),
        (3, lambda: {"data": b'{"text": 1' + b"0" * 400 + b"}", "headers": plain}),
        (3, lambda: {"data": torn, "headers": {"Content-Type": form}}),
        (3, lambda: {"data": torn, "headers": {"Content-Type": f"{form}; charset=undefined"}}),
        (3, lambda: {"json": {"image": good}, "headers": {"Host": "evil.example"}}),
        (0.1, lambda: {"data": b"\0" * 20_000_000, "headers": plain}),
        (0.3, lambda: {"data": dripping(), "headers": plain}),
    ]
    (chosen,) = source.choices([ask for _, ask in requests], [weight for weight, _ in requests])
    return chosen()


class Seen:
    """What was answered."""

    def __init__(self) -> None:
        self.honest: Counter[str] = Counter()
        self.hostile: Counter[int] = Counter()
        self.slowest = 0.0
        self.memory: list[tuple[float, int]] = []

    def growth(self, seconds: float) -> float:
        """Returns memory at the end by memory after a fifth of the time."""
        early = [held for at, held in self.memory if at >= seconds / 5][:10]
        late = [held for _, held in self.memory[-10:]]
        return (sum(late) / len(late)) / (sum(early) / len(early))


async def client(number: int, url: str, right: list[Any], end: float, seen: Seen) -> None:
    """Asks again and again; every third request is hostile."""
    source = random.Random(number)
    async with aiohttp.ClientSession(timeout=WAIT) as session:
        while time.monotonic() < end:
            if source.random() < 1 / 3:
                with contextlib.suppress(aiohttp.ClientError, ConnectionError):  # cut off while it still sent
                    async with session.post(url, **hostile(source)) as answer:
                        await answer.read()
                        seen.hostile[answer.status] += 1
                continue
            which = source.randrange(PICTURES)
            body = {"image": base64.b64encode(png(which)).decode()}
            try:
                async with session.post(url, json=body) as answer:
                    content = await answer.read()
                    if answer.status == 200:
                        seen.honest["right" if json.loads(content) == right[which] else "WRONG"] += 1
                    elif answer.status == 503 and "Retry-After" in answer.headers:
                        seen.honest["503 with Retry-After"] += 1
                        await asyncio.sleep(0.2)
                    else:
                        seen.honest[f"LOST {answer.status}"] += 1
            except (aiohttp.ClientError, TimeoutError) as error:
                seen.honest[f"LOST {type(error).__name__}"] += 1


async def watch(url: str, end: float, seen: Seen) -> None:
    """Asks for the health, and how much memory the server's processes hold."""
    begun = time.monotonic()
    async with aiohttp.ClientSession(timeout=WAIT) as session:
        while time.monotonic() < end:
            asked = time.monotonic()
            async with session.get(url.replace("/predict", "/healthz")) as answer:
                assert answer.status == 200
            seen.slowest = max(seen.slowest, time.monotonic() - asked)
            held = 0
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.Error):
                    if "ServeReplica" in " ".join(process.cmdline()) or "haproxy" in process.name():
                        held += process.memory_info().rss
            seen.memory.append((time.monotonic() - begun, held))
            await asyncio.sleep(0.5)


def main() -> None:
    """Asks for a while, and prints what was seen."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300)
    options = parser.parse_args()
    from sensorium.inference.predictor import Predictor

    with workplace() as folder:
        model = train(folder, TINY)
        predictor = Predictor.load(model)
        right = [json.loads(json.dumps(predictor([{"image": png(which)}])[0])) for which in range(PICTURES)]
        seen = Seen()
        with sensorium(model) as url:

            async def everybody() -> None:
                end = time.monotonic() + options.seconds
                await asyncio.gather(watch(url, end, seen), *(client(n, url, right, end, seen) for n in range(CLIENTS)))

            asyncio.run(everybody())
    growth = seen.growth(options.seconds)
    failed = [status for status in seen.hostile if status >= 500 and status != 503]
    lost = [what for what in seen.honest if what not in ("right", "503 with Retry-After")]
    print(f"honest   {dict(seen.honest)}")
    print(f"hostile  {dict(sorted(seen.hostile.items()))}")
    print(f"healthz  {seen.slowest:.3f} s at most")
    print(f"memory   {seen.memory[-1][1] / 2**20:.0f} MiB at the end, {growth:.3f} of what it was early")
    holds = not lost and not failed and seen.slowest < 1 and growth < 1.1 and seen.honest["right"] > 0
    print("holds" if holds else "DOES NOT HOLD")
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
