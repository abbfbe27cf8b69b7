"""What is private in Ray, and used nowhere else: a test for each assumption fails when a new Ray breaks it.

How Ray prints what its processes say, which address a Ray of one machine takes, tokens of a Ray that is imported
already, nodes that leave, Ctrl-C, what Train keeps in a run's folder, the end of Serve, the control store's memory.

Of a worker its own words are shown, and those of the code it runs; Ray's notes on its work are not, and no colours.
With `--debug` everything is shown, with the process that said it.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

from sensorium.debugging import debugging

MARK = ":sensorium:"
"""Line with which a worker begins its part, on both streams: what it said before was Ray's."""
LOOPBACK = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Variable with which Ray, set to 0, takes 127.0.0.1 for the address of its machine."""
_CODES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[@-Z\\^_])")
"""Colours and other orders to a terminal."""
_RAYS = re.compile(r"\[\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z] \d+ \d+\] |.*__ray_tqdm_magic_token__")
"""What Ray's core writes, and its progress bars: past any logger of Python's."""
_OF_A_JOB = re.compile(
    r"^(?:\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3}\t[A-Z]+ \w+\.py:\d+ -- |Running entrypoint for job \S+: |"
    + _RAYS.pattern
    + r").*\n?",
    re.MULTILINE,
)
"""Lines of Ray's in what a job has printed."""
_PREFIX = re.compile(r"\((?:(?P<actor_name>.+) )?pid=(?P<pid>[^,)]+)(?:, ip=(?P<ip>[^)]+))?\) (?P<line>.*)")
"""What Ray writes before a line when a client of its, at ray://…, hears it."""
_STDERR = -2
"""How a client is told that a line is of standard error."""


class Voices:
    """Tells what workers say from what Ray says in their name."""

    def __init__(self) -> None:
        self._begun: set[tuple[Any, ...]] = set()

    def shown(self, said: Mapping[str, Any]) -> list[str]:
        """Returns the lines to be shown of those that a process has printed.

        Args:
            said: As Ray hands it on: `lines`, the `pid` and `ip` of their process, and `is_err`, which stream it was.
        """
        lines = [_plain(str(line)) for line in said["lines"]]
        if debugging():
            who = " ".join(str(said[key]) for key in ("actor_name", "task_name", "pid") if said.get(key))
            return [f"({who}) {line}" for line in lines]
        source = (said.get("ip"), said["pid"], said["is_err"])
        kept = []
        for line in lines:
            if line == MARK:
                self._begun.add(source)
            elif source in self._begun and not _RAYS.match(line):
                kept.append(line)
        return kept


def keep_to_loopback(here: bool) -> None:
    """Has a Ray that is started for this machine alone listen on 127.0.0.1, where it would take an outer address.

    Control store, raylet, agents, metrics and workers; processes that it starts inherit it. A Ray of several machines
    has to be reached by the others.
    """
    if here:
        os.environ[LOOPBACK] = "0"
    else:
        os.environ.pop(LOOPBACK, None)
    from ray._private import ray_constants

    ray_constants.ENABLE_RAY_CLUSTER = not here  # type: ignore[assignment]  # read when Ray was imported


def listen() -> None:
    """Has what workers say printed here as `Voices` shows it, from the next connection on."""
    from ray._private import worker
    from ray.util.client.logsclient import LogstreamClient

    voices = Voices()

    def print_to_stdstream(data: Mapping[str, Any], ignore_prefix: bool) -> None:
        stream = sys.stderr if data["is_err"] or data["pid"] == "raylet" else sys.stdout
        for line in voices.shown(data):
            print(line, file=stream, flush=True)

    def stdstream(client: LogstreamClient, level: int, msg: str) -> None:
        for line in msg.splitlines():
            found = _PREFIX.match(_CODES.sub("", line))
            said = {"lines": [found["line"]], **found.groupdict()} if found else {"lines": [line], "pid": ""}
            print_to_stdstream({**said, "is_err": level == _STDERR}, False)

    worker.print_to_stdstream = print_to_stdstream
    LogstreamClient.stdstream = stdstream  # type: ignore[method-assign]
    _hush()


def turn_tokens_on() -> None:
    """Has Ray show its token where Ray is imported already, and has read the environment before."""
    if "ray" in sys.modules:
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        Config.initialize("")
        AuthenticationTokenLoader.instance().reset_cache()


def leaving() -> bool:
    """Says, in a worker of Train, whether Ray was told that the node of some worker will be taken away."""
    # What Ray documents for it, get_preemption_info, is a barrier: too slow for each step.
    from ray.train.v2._internal.execution.context import get_train_context

    return get_train_context().preemption_context.preemption_info is not None


def interruptible(trainer: type[Any]) -> type[Any]:
    """Returns a trainer that leaves Ctrl-C an interrupt, as SIGTERM is.

    Ray's own handler would wait for its workers, and say nothing. Workers end with the connection that they were
    started by; what they were writing is passed over.
    """

    def leave(self: Any, controller: Any) -> None:
        """Sets no handler."""

    return type("Trainer", (trainer,), {"_register_sigint_handler": leave})


def end_serve(seconds: float) -> None:
    """Ends Serve within so many seconds; `serve.shutdown` has no such limit.

    Raises:
        RayServeException: It is not running.
    """
    from ray.serve.context import _disconnect, _get_global_client

    client = _get_global_client()
    assert client is not None
    client.shutdown(timeout_s=seconds)
    _disconnect()  # else a Serve that this process starts later is asked through the client of this one


def remember(key: bytes, content: bytes) -> None:
    """Puts something into the memory of the cluster's control store, which outlives the process."""
    from ray.experimental.internal_kv import _internal_kv_put

    _internal_kv_put(key, content, overwrite=True)


def remembered(key: bytes) -> bytes | None:
    """Returns what was put there; None where nothing was."""
    from ray.experimental.internal_kv import _internal_kv_get

    found: bytes | None = _internal_kv_get(key)
    return found


def of_job(text: str) -> str:
    """Returns what a job has printed without the lines that Ray adds."""
    return text if debugging() else _OF_A_JOB.sub("", text)


def begin() -> None:
    """Begins a worker's part: from here on it is heard, and Ray's modules in its process are not."""
    _hush()
    for stream in (sys.stdout, sys.stderr):
        print(MARK, file=stream, flush=True)


@contextmanager
def without_core() -> Iterator[None]:
    """Keeps what Ray's core writes to standard error out of it: notes that pass by every logger of Python's."""
    if debugging():
        yield
        return
    there = os.dup(2)
    source, sink = os.pipe()
    os.dup2(sink, 2)
    os.close(sink)

    def copy() -> None:
        with os.fdopen(source, "rb") as lines:
            for line in lines:
                if not _RAYS.match(_CODES.sub("", line.decode(errors="replace"))):
                    os.write(there, line)
        os.close(there)

    copier = Thread(target=copy, daemon=True)
    copier.start()
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(there, 2)
        copier.join(1)  # longer only where a process that was started meanwhile keeps the pipe


def _hush() -> None:
    """Keeps what Ray's modules say in this process from its streams; their files get it."""
    if debugging():
        return
    warnings.filterwarnings("ignore", module=r"ray(\.|$)")
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in logger.handlers if isinstance(logger, logging.Logger) else ():
            if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
                handler.addFilter(_is_not_rays)


def _is_not_rays(record: logging.LogRecord) -> bool:
    import ray

    return not Path(record.pathname).is_relative_to(Path(ray.__file__).parent)


def _plain(line: str) -> str:
    """Returns a line as a terminal would leave it: without orders, and without what was written over."""
    return _CODES.sub("", line).rstrip("\r").rpartition("\r")[2]
