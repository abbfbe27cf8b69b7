"""What of Ray's output is shown: by a table of lines, and that Ray prints by the names that are replaced."""

import inspect
import logging
import os
import queue
import re
import signal
import threading
import types
import warnings
from pathlib import Path

import pytest
import ray.train.v2._internal.execution.context as of_ray
from ray._private import worker
from ray._private.log import PlainRayHandler
from ray._private.log_monitor import LogMonitor
from ray.experimental.tqdm_ray import RAY_TQDM_MAGIC
from ray.serve import context as of_serve
from ray.serve._private.client import ServeControllerClient
from ray.util.client.logsclient import LogstreamClient
from ray.util.client.server.logservicer import StdStreamHandler

from sensorium.debugging import VARIABLE
from sensorium.runtime import internals


@pytest.fixture(autouse=True)
def put_back(monkeypatch):
    """Leaves Ray and the loggers as they were."""
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(worker, "print_to_stdstream", worker.print_to_stdstream)
    monkeypatch.setattr(LogstreamClient, "stdstream", LogstreamClient.stdstream)
    with warnings.catch_warnings():
        yield


def said(*lines, pid=7, err=True, name="RayTrainWorker"):
    return {"lines": [*lines], "pid": pid, "ip": "192.0.2.1", "is_err": err, "actor_name": name}


GLOG = "[2026-11-27 15:58:24,374 E 10844 11032] core_worker.cc:2465: Actor with class name: 'PreemptionWatcher'"
TRACEBACK = ("Traceback (most recent call last):", '  File "mine.py", line 3, in forward', "ValueError: no picture")
SHOWN = [
    ("clip-1: 20 steps on 2 workers", "clip-1: 20 steps on 2 workers"),
    ("\x1b[36mblue\x1b[0m and \x1b[1;31mred\x1b[0m", "blue and red"),
    ("\x1b]0;title\x07text", "text"),
    (" 10%|█   \r 20%|██  ", " 20%|██  "),
    ("carried\r", "carried"),
    ("", ""),
    ("[2026-11-27] mine", "[2026-11-27] mine"),
    (GLOG, None),
    (f"\x1b[33m{GLOG}\x1b[0m", None),
    (f'{{"{RAY_TQDM_MAGIC}": true, "x": 1}}', None),
    *((line, line) for line in TRACEBACK),
]


@pytest.mark.parametrize(("line", "expected"), SHOWN)
def test_what_a_worker_says_in_its_part_is_shown_and_what_ray_says_there_is_not(line, expected):
    shown = internals.Voices().shown(said(internals.MARK, line))
    assert shown == [] if expected is None else [expected]


def test_before_a_worker_begins_its_part_and_elsewhere_ray_speaks():
    voices = internals.Voices()
    assert voices.shown(said("Setting up process group for: env://", internals.MARK, "mine")) == ["mine"]
    assert voices.shown(said("mine too")) == ["mine too"]
    assert voices.shown(said("Requesting resources: {'CPU': 1.0} * 2", pid=8, name="TrainController")) == []
    assert voices.shown(said("A worker died", pid="raylet", name=None)) == []
    assert voices.shown(said("the other stream", err=False)) == []


@pytest.mark.parametrize("debug", [False, True])
def test_what_rays_core_writes_past_python_is_left_out_unless_debugging(capfd, monkeypatch, debug):
    if debug:
        monkeypatch.setenv(VARIABLE, "1")
    with internals.without_core():
        os.write(2, f"{GLOG}\nmine\n".encode())
        os.write(2, f"\x1b[33m{GLOG}\x1b[0m\n".encode())
        os.write(2, b"and mine\n")
        os.write(2, b"without an end")
    os.write(2, f"; {GLOG}".encode())
    kept = "mine\nand mine\nwithout an end; " + GLOG
    found = capfd.readouterr().err
    assert (kept in found) is not debug
    assert found.count(GLOG) == (3 if debug else 1)


def test_debugging_shows_everything_and_who_says_it_without_colours(monkeypatch):
    monkeypatch.setenv(VARIABLE, "1")
    assert internals.Voices().shown(said(f"\x1b[33m{GLOG}\x1b[0m")) == [f"(RayTrainWorker 7) {GLOG}"]


def test_of_a_job_its_command_is_heard(monkeypatch):
    raw = (
        "2026-11-27 15:58:24,374\tINFO job_manager.py:581 -- Runtime env is setting up.\n"
        "Running entrypoint for job raysubmit_8d2f: sensorium train clip\n"
        f"clip-1: 20 steps on 2 workers\n{GLOG}\n\nrun      clip-1\n"
    )
    assert internals.of_job(raw) == "clip-1: 20 steps on 2 workers\n\nrun      clip-1\n"
    monkeypatch.setenv(VARIABLE, "1")
    assert internals.of_job(raw) == raw


def test_ray_prints_what_it_hears_by_what_is_replaced(capsys):
    """Both threads with which Ray listens take the function by its name, at the time."""
    assert "print_to_stdstream" in inspect.unwrap(worker.connect).__code__.co_names
    assert [*inspect.signature(worker.print_to_stdstream).parameters] == ["data", "ignore_prefix"]
    internals.listen()
    stopped = threading.Event()

    def poll():
        stopped.set()
        return None, {"job_id": None, "error_message": "A node died"}

    subscriber = types.SimpleNamespace(subscribe=lambda: None, poll=poll)
    job = types.SimpleNamespace(binary=lambda: b"")
    worker.listen_error_messages(types.SimpleNamespace(gcs_error_subscriber=subscriber, current_job_id=job), stopped)
    assert capsys.readouterr() == ("", "")
    worker.print_to_stdstream(said(internals.MARK, "told", err=False), ignore_prefix=False)
    worker.print_to_stdstream(said(internals.MARK, "warned"), ignore_prefix=False)
    assert capsys.readouterr() == ("told\n", "warned\n")


def test_the_mark_passes_through_the_files_of_a_worker_as_ray_reads_them(tmp_path):
    for stream in ("out", "err"):
        text = f":job_id:01000000\n:actor_name:RayTrainWorker\nSetting up\n{internals.MARK}\n\x1b[31mmine\x1b[0m\n"
        (tmp_path / f"worker-{'ab' * 28}-01000000-4242.{stream}").write_text(text)
    (tmp_path / "old").mkdir()
    heard = []
    monitor = LogMonitor("192.0.2.1", str(tmp_path), types.SimpleNamespace(publish_logs=heard.append), lambda pid: True)
    monitor.update_log_filenames()
    monitor.open_closed_files()
    monitor.check_log_files_and_publish_updates()
    voices = internals.Voices()
    assert [(said["is_err"], voices.shown(said)) for said in heard] == [(False, ["mine"]), (True, ["mine"])]


def test_what_a_client_of_ray_hears_is_told_apart_as_well(capsys, monkeypatch):
    """As Ray's server writes it, handed on as Ray's client hands it on."""
    monkeypatch.setattr(worker.tqdm_ray.instance(), "unhide_bars", lambda: None)
    assert [*inspect.signature(LogstreamClient.stdstream).parameters] == ["self", "level", "msg"]
    internals.listen()
    heard = queue.Queue()
    server = StdStreamHandler(heard)
    server.handle(said("Requesting resources", name="TrainController", pid=8))
    server.handle(said("Setting up", internals.MARK, "\x1b[31mwarned\x1b[0m", "(mine) too"))
    server.handle(said(internals.MARK, "told", err=False) | {"localhost": "192.0.2.1"})
    server.handle(said("A node died", pid="raylet", name=None))
    while not heard.empty():
        record = heard.get()
        LogstreamClient.stdstream(None, level=record.level, msg=record.msg)
    assert capsys.readouterr() == ("told\n", "warned\n(mine) too\n")


def test_in_a_worker_ray_modules_are_silent_and_others_are_not(capsys):
    handler = PlainRayHandler()
    logging.root.addHandler(handler)
    try:
        internals.begin()
        record = logging.LogRecord("x", logging.ERROR, of_ray.__file__, 1, "Reporting training result 1", None, None)
        logging.root.handle(record)
        logging.getLogger("mine").error("mine")
        warnings.warn_explicit("Ray's", FutureWarning, of_ray.__file__, 1, of_ray.__name__)
    finally:
        logging.root.removeHandler(handler)
    out, err = capsys.readouterr()
    assert out == f"{internals.MARK}\n"
    assert err == f"{internals.MARK}\nmine\n"


@pytest.mark.parametrize(("here", "address"), [(True, "127.0.0.1"), (False, "192.0.2.7")])
def test_a_ray_of_this_machine_alone_takes_loopback(monkeypatch, here, address):
    """By Ray's own function, which says what its processes listen on."""
    from ray._private import ray_constants, services

    monkeypatch.setattr(ray_constants, "ENABLE_RAY_CLUSTER", ray_constants.ENABLE_RAY_CLUSTER)
    monkeypatch.setenv(internals.LOOPBACK, "")
    monkeypatch.setattr(services, "node_ip_address_from_perspective", lambda address: "192.0.2.7")
    monkeypatch.setattr(worker, "_global_node", None)
    internals.keep_to_loopback(here)
    assert services.get_node_ip_address() == address
    assert os.environ.get(internals.LOOPBACK) == ("0" if here else None)


PRIVATE = re.compile(
    r"(?:from|import)\s+ray\.[\w.]*\b_\w+|from ray[\w.]* import [^\n]*\b_[a-z]\w*|ray\.experimental\.internal_kv"
    r"|_register_sigint_handler"
)
"""What is not for others: modules and names with an underscore, and names that no module of Ray's promises."""


@pytest.mark.parametrize("line", ["from ray._raylet import Config", "from ray.a._internal.b import c", "import ray._x"])
def test_a_private_use_is_seen(line):
    assert PRIVATE.search(line)
    assert not PRIVATE.search("from ray.train.v2.api.exceptions import TrainingFailedError")


def test_what_is_private_in_ray_is_used_in_one_module():
    root = Path(internals.__file__).parent.parent
    found = {path.name for path in root.rglob("*.py") if PRIVATE.search(path.read_text())}
    assert found == {"internals.py"}


def test_a_ray_that_is_imported_shows_the_token_that_is_set_since(monkeypatch):
    from ray._raylet import AuthenticationTokenLoader

    shown = {}
    for token in ("a" * 32, "b" * 32):
        monkeypatch.setenv("RAY_AUTH_MODE", "token")
        monkeypatch.setenv("RAY_AUTH_TOKEN", token)
        internals.turn_tokens_on()
        shown[token] = AuthenticationTokenLoader.instance().get_raw_token()
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    internals.turn_tokens_on()
    assert all(str(found) == token for token, found in shown.items())


def test_a_worker_knows_that_a_node_leaves_when_train_marks_it(monkeypatch):
    """By the method that Train's watcher calls on each worker."""
    from ray.train.v2._internal.execution.preemption import PreemptionContext
    from ray.train.v2._internal.execution.worker_group import worker as of_train
    from ray.train.v2.api.preemption import PreemptionInfo

    context = types.SimpleNamespace(get_world_rank=lambda: 0, preemption_context=PreemptionContext())
    monkeypatch.setattr(of_ray, "_train_context", context)
    assert not internals.leaving()
    of_train.RayTrainWorker.mark_preempt(None, PreemptionInfo(None, {"node": [1]}))
    assert internals.leaving()


def test_ctrl_c_is_left_an_interrupt(monkeypatch):
    """Ray registers its handler by the method that is replaced."""
    from ray.train.torch import TorchTrainer
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    users = [each for each in vars(DataParallelTrainer).values() if inspect.isfunction(each)]
    assert any("_register_sigint_handler" in each.__code__.co_names for each in users)
    handler = signal.getsignal(signal.SIGINT)
    trainer = internals.interruptible(TorchTrainer)
    assert issubclass(trainer, TorchTrainer)
    trainer._register_sigint_handler(None, None)
    assert signal.getsignal(signal.SIGINT) is handler


def test_ray_says_nothing_of_widgets():
    from ray.widgets import util

    assert not util.logger.isEnabledFor(logging.INFO)


def test_serve_is_ended_within_so_many_seconds(monkeypatch):
    asked = {}
    client = types.SimpleNamespace(shutdown=lambda **options: asked.update(options))
    monkeypatch.setattr(of_serve, "_global_client", client)
    monkeypatch.setattr(of_serve, "_get_global_client", lambda: client)
    internals.end_serve(3.0)
    assert of_serve._global_client is None, "a Serve that is started later is asked through a client of its own"
    assert inspect.signature(ServeControllerClient.shutdown).bind(client, **asked).arguments["timeout_s"] == 3.0


def test_the_control_store_remembers(monkeypatch):
    from ray.experimental import internal_kv

    kept = {}

    class Store:
        def internal_kv_put(self, key, value, overwrite, namespace):
            kept[key] = value if overwrite else kept.setdefault(key, value)

        def internal_kv_get(self, key, namespace):
            return kept.get(key)

    monkeypatch.setattr(internal_kv, "global_gcs_client", Store(), raising=False)
    assert internals.remembered(b"place") is None
    for content in (b"one", b"two"):
        internals.remember(b"place", content)
        assert internals.remembered(b"place") == content
