"""The process that writes the record: nothing is lost while the store is away, nothing written twice."""

import json
import subprocess
import sys
import threading
import time

import pytest
from mlflow.exceptions import MlflowException

from sensorium.tracking import kept, records, writer
from sensorium.tracking.lock import alone, lock_file

RUN = {"name": "run", "folder": "x", "experiment": {}, "seed": 0, "tracking": {"uri": "sqlite:///x.db"}}


class Store:
    """Keeps what it is given, but for the calls at which it is away."""

    def __init__(self, away=(), before=None):
        self.away, self.calls = set(away), 0
        self.points, self.pictures, self.ended = [], {}, None
        self.before = before or {}

    def __getattr__(self, name):
        def call(*arguments):
            self.calls += 1
            if self.calls in self.away:
                raise MlflowException("the store is away")
            return getattr(self, f"do_{name}")(*arguments)

        return call

    def do_open_record(self, run):
        return self

    def do_histories(self, record):
        return self.before

    def do_add_metrics(self, record, points):
        assert len(points) <= 1000, "the server takes no more"
        self.points += [tuple(point) for point in points]

    def do_add_plot(self, record, name, png):
        self.pictures[name] = png

    def do_end(self, record, status, error):
        self.ended = (status, error)


@pytest.fixture
def write(monkeypatch):
    """Has messages written to a store."""

    def go(store, *messages, run=RUN):
        for name in ("open_record", "histories", "add_metrics", "add_plot", "end"):
            monkeypatch.setattr(records, name, getattr(store, name))
        monkeypatch.setattr(writer.time, "sleep", lambda seconds: None)
        monkeypatch.setattr(sys, "stdin", [json.dumps(message) + "\n" for message in ({"run": run}, *messages)])
        writer.Writer().write()
        return store

    return go


def points(first, last, name="train/a"):
    return {"points": [(name, step / 10, 1e9 + step, step) for step in range(first, last + 1)]}


FINISH = {"finish": "finished", "error": ""}


def test_points_whose_writer_went_with_its_machine_are_written_by_the_next_one(write, tmp_path):
    run = {**RUN, "folder": str(tmp_path), "resumed_from": 6}
    for first, last in ((1, 3), (4, 6), (7, 9)):
        kept.keep(run["folder"], last, points(first, last)["points"])
    before = {"train/a": [(step, step / 10) for step in range(1, 5)]}
    store = write(Store(before=before), points(7, 9), {"kept": 9}, FINISH, run=run)
    assert [step for _, _, _, step in store.points] == [5, 6, 7, 8, 9]
    assert kept.kept(run["folder"], 9) == {}


def test_everything_arrives_in_order(write):
    store = write(Store(), points(1, 3), points(4, 5), points(5, 5, "test/b"), FINISH)
    assert [(name, step) for name, _, _, step in store.points] == [
        *(("train/a", step) for step in range(1, 6)),
        ("test/b", 5),
    ]
    assert store.ended == ("FINISHED", "")


@pytest.mark.parametrize(
    "away", [{1}, {2}, {3}, {4}, {5}, {1, 2, 3, 4, 5, 6, 7}, set(range(3, 40)), set(range(1, 60, 2))]
)
def test_a_store_that_is_away_loses_nothing(write, away):
    picture = {"picture": "plots/a.png", "png": "AAEC"}
    store = write(Store(away), points(1, 3), picture, points(4, 2000), FINISH)
    assert [step for *_, step in store.points] == list(range(1, 2001))
    assert store.pictures["plots/a.png"] == b"\0\1\2"
    assert store.ended == ("FINISHED", "")


def test_points_come_in_parts_that_the_server_takes(write):
    store = write(Store(), points(1, 5000), FINISH)
    assert len(store.points) == 5000


def test_what_was_written_before_a_restart_is_not_written_again(write):
    before = {"train/a": [(1, 0.1), (2, 0.2), (3, 0.3)], "learning_rate/a": [(1, 1.0)]}
    store = write(Store(before=before), points(2, 5), points(1, 3, "learning_rate/a"), points(3, 3, "test/b"), FINISH)
    assert [(name, step) for name, _, _, step in store.points] == [
        ("train/a", 4),
        ("train/a", 5),
        ("learning_rate/a", 2),
        ("learning_rate/a", 3),
        ("test/b", 3),
    ]


def test_the_curve_of_the_losses_has_the_steps_before_a_restart(write, monkeypatch):
    drawn = {}
    monkeypatch.setattr(writer, "curves", lambda losses: drawn.update(losses) or b"png")
    store = write(Store(before={"train/a": [(1, 9.0)], "test/b": [(1, 1.0)]}), points(2, 3), FINISH)
    assert drawn == {"train/a": [(1, 9.0), (2, 0.2), (3, 0.3)]}
    assert store.pictures == {"plots/loss.png": b"png"}


def test_a_training_that_was_killed_leaves_its_record_open(write):
    store = write(Store(), points(1, 3))
    assert len(store.points) == 3
    assert store.ended is None


def test_a_failure_is_told(write):
    store = write(Store(), points(1, 3), {"finish": "failed", "error": "The loss is not finite."})
    assert store.ended == ("FAILED", "The loss is not finite.")


def test_a_trial_that_was_stopped_is_killed_in_the_record(write):
    assert write(Store(), points(1, 3), {"finish": "stopped", "error": ""}).ended == ("KILLED", "")


def test_a_refusal_is_not_tried_again(write, monkeypatch):
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    store = Store()
    refusal = MlflowException("too long", error_code=1000)  # INVALID_PARAMETER_VALUE
    store.do_add_metrics = lambda *_: (_ for _ in ()).throw(refusal)
    with pytest.raises(MlflowException, match="too long"):
        write(store, points(1, 3), FINISH)
    assert store.calls == 3


def test_patience_ends_some_time_after_the_training(write, monkeypatch):
    store = Store(away=range(3, 10**6))
    monkeypatch.setattr(writer, "PATIENCE", 0.05)
    with pytest.raises(MlflowException, match="the store is away"):
        write(store, points(1, 3), FINISH)
    assert store.calls > 3


def test_the_machine_is_sampled_until_the_end_and_counts_on(write, monkeypatch):
    monkeypatch.setitem(RUN["tracking"], "system", True)
    monkeypatch.setattr(records, "system_metrics", lambda record: lambda: {"system/cpu": 5.0})
    monkeypatch.setattr(writer, "SAMPLING", 0.01)
    store = Store(before={"system/cpu": [(0, 1.0), (6, 1.0)]})
    slow = store.do_add_metrics
    store.do_add_metrics = lambda *arguments: (time.sleep(0), slow(*arguments))
    write(store, points(1, 3), FINISH)
    steps = [step for name, _, _, step in store.points if name == "system/cpu"]
    assert steps == list(range(7, 7 + len(steps)))
    assert len([name for name, *_ in store.points if name == "train/a"]) == 3


def test_one_writer_at_a_time_holds_a_name():
    order = []
    holds, may_end = threading.Event(), threading.Event()

    def first():
        with alone("a run"):
            order.append("first begins")
            holds.set()
            may_end.wait(5)
            order.append("first ends")

    thread = threading.Thread(target=first)
    thread.start()
    holds.wait(5)
    with alone("another run"):
        order.append("another does not wait")
    waiting = threading.Timer(0.05, may_end.set)
    waiting.start()
    with alone("a run"):
        order.append("second begins")
    thread.join()
    assert order == ["first begins", "another does not wait", "first ends", "second begins"]


def test_curves_are_a_picture():
    assert writer.curves({"train/a": [(1, 2.0), (2, 1.0)]}).startswith(b"\x89PNG")


def test_writers_of_a_run_take_turns_in_the_order_of_their_start(tmp_path):
    """The first is slow to begin, and is heard before the others all the same."""
    (tmp_path / "slow.py").write_text(
        "import fcntl, sys, time, sensorium.tracking\n"
        "from sensorium.tracking import launch\n"
        "class Writer:\n"
        "    def main(turn):\n"
        "        seconds = sys.stdin.read()\n"
        "        time.sleep(float(seconds))\n"
        "        fcntl.flock(turn, fcntl.LOCK_EX)\n"
        f"        open({str(tmp_path / 'order')!r}, 'a').write(seconds + ' ')\n"
        "        print('done')\n"
        "sensorium.tracking.writer = Writer\n"
        "launch.main()\n"
    )
    started = []
    for seconds in ("0.4", "0.2", "0.0"):
        command = [sys.executable, str(tmp_path / "slow.py"), str(lock_file(str(tmp_path)))]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        process.wait()
        process.stdin.write(seconds)
        process.stdin.close()
        started.append(process)
    assert [process.stdout.read() for process in started] == ["done\n"] * 3
    assert (tmp_path / "order").read_text().split()[0] == "0.4"
    lock_file(str(tmp_path)).unlink()
