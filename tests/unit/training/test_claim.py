"""One process at a time works on a run."""

import json
import os
import socket
import subprocess
import sys
import time

import fsspec
import pytest

from sensorium.errors import UserError
from sensorium.training import claim as module
from sensorium.training.claim import FILE, STALE, Claim

PLACES = pytest.mark.parametrize("place", ["local", "memory://bucket/{}"])


@pytest.fixture
def folder(place, tmp_path):
    """A run's folder, or its URI."""
    return str(tmp_path / "run") if place == "local" else place.format(tmp_path.name)


def leave(folder, **changes):
    """Leaves the file of another process's claim."""
    now = time.time()
    content = {"id": "x", "host": "elsewhere", "pid": 7, "since": now - 90, "renewed": now - 5, **changes}
    files, root = fsspec.core.url_to_fs(folder)
    files.makedirs(root, exist_ok=True)
    files.pipe_file(f"{root}/{FILE}", json.dumps(content).encode())


def left(folder):
    files, root = fsspec.core.url_to_fs(folder)
    return json.loads(files.cat_file(f"{root}/{FILE}")) if files.exists(f"{root}/{FILE}") else None


@PLACES
def test_a_second_process_is_refused_with_the_first_ones_host_pid_and_age(folder):
    leave(folder)
    with pytest.raises(UserError, match=r"The process 7 on elsewhere works on .*, since 90 s\. .*sign 5 s ago"):
        Claim(folder)
    assert left(folder)["id"] == "x"


def test_another_process_of_this_machine_is_refused_while_it_lives(tmp_path):
    code = (
        "import sys; from sensorium.training.claim import Claim; "
        "c = Claim(sys.argv[1]); print('mine', flush=True); input()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert other.stdout.readline() == "mine\n"
        with pytest.raises(UserError, match=rf"The process {other.pid} on {socket.gethostname()} works on"):
            Claim(str(tmp_path))
    finally:
        other.kill()
        other.communicate()
    Claim(str(tmp_path)).release()  # it is dead


@PLACES
@pytest.mark.parametrize(
    "changes",
    [
        {"renewed": time.time() - STALE - 1000},
        {"host": socket.gethostname(), "pid": os.getpid()},
        {"host": socket.gethostname(), "pid": 2**22 + 5},
        {"pid": "torn"},
        {"renewed": None},
    ],
)
def test_a_stale_claim_is_taken_over(folder, changes):
    leave(folder, **changes)
    mine = Claim(folder)
    assert left(folder)["pid"] == os.getpid()
    mine.release()
    assert left(folder) is None


@PLACES
def test_a_claim_is_renewed_and_one_that_was_taken_over_is_left_alone(folder, monkeypatch):
    monkeypatch.setattr(module, "RENEWAL", 0.01)
    mine = Claim(folder)
    first = left(folder)["renewed"]
    end = time.monotonic() + 30
    while left(folder)["renewed"] == first and time.monotonic() < end:
        time.sleep(0.01)
    assert left(folder)["renewed"] > first
    mine._released.set()
    mine._renewing.join()
    leave(folder)
    mine.release()
    assert left(folder)["id"] == "x"
