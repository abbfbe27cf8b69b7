"""Runs on storage: what it takes to go on, wherever that lies."""

import errno
import json

import pytest
from every_hook import Lines

from sensorium.assembly.build import assemble
from sensorium.assembly.loading import load
from sensorium.errors import SensoriumError, UserError
from sensorium.plugins import Plugins
from sensorium.training import runs
from sensorium.training.session import resumed, started
from sensorium.tuning.session import started as searching

PLUGINS = Plugins(["every_hook"])


def lines(storage):
    """The task `lines`, whose runs lie there."""
    return assemble(load("lines", [f"run.storage={storage}"], PLUGINS))


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """Works in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("uri", ["runs", "deep/down/runs", "memory://bucket/runs/"])
def test_a_run_is_found_again(uri):
    assembly = lines(uri)
    run = runs.create(assembly, {"uri": "sqlite:///x.db"})
    record = runs.reopen(run.name, uri)
    assert record == runs.reopen(run.folder, "elsewhere")
    assert record["folder"] == run.folder
    assert record["name"] == run.name
    assert record["experiment"] == assembly.loaded.plain() == json.loads(json.dumps(run.experiment))
    assert record["learnt"] == assembly.learnt()
    assert record["tracking"] == {"uri": "sqlite:///x.db"}


def test_names_are_unique():
    assembly = lines("runs")
    assert len({runs.create(assembly, {}).name for _ in range(20)}) == 20


def test_an_unknown_run_comes_with_those_there_are():
    run = runs.create(lines("runs"), {})
    with pytest.raises(UserError) as caught:
        runs.reopen("lines-1999", "runs")
    assert str(caught.value) == f"There is no run 'lines-1999'. Runs in runs: {run.name}. Give one of them."
    with pytest.raises(UserError, match="Runs in nowhere: none"):
        runs.reopen("lines-1999", "nowhere")


def test_of_a_mistyped_run_those_beside_it_are_told_with_the_nearest():
    run = runs.create(lines("memory://bucket/beside"), {})
    with pytest.raises(UserError, match=rf"Runs in memory://bucket/beside: {run.name}\. Did you mean '{run.name}'"):
        runs.reopen(f"{run.folder}x", "runs")


@pytest.mark.parametrize(
    ("uri", "wrong"),
    [
        ("taken/runs", r"The storage .* cannot be written"),
        ("nonsense://bucket/runs", "nonsense://.* cannot be reached"),
    ],
)
def test_storage_that_cannot_be_written_is_refused(folder, uri, wrong):
    (folder / "taken").write_text("a file")
    assembly = lines(uri)
    with pytest.raises(UserError, match=wrong) as caught:
        runs.create(assembly, {})
    assert caught.value.hint


@pytest.mark.parametrize("place", ["here", "memory://bucket/there"])
def test_a_failure_is_remembered_until_it_is_mended(place):
    assert runs.failure(place) is None
    runs.remember_failure(place, UserError("Wrong.", "Right.", "Do."))
    assert runs.failure(place) == {"sentences": ["Wrong.", "Right.", "Do."], "exit_status": 2}
    runs.remember_failure(place, SensoriumError("Worse."))
    assert runs.failure(place)["exit_status"] == 1
    runs.forget_failure(place)
    assert runs.failure(place) is None
    runs.forget_failure(place)


@pytest.mark.parametrize("content", ["{", "[]", '{"sentences": 1}', '{"sentences": [], "exit_status": "many"}'])
def test_what_is_not_a_failure_is_named(folder, content):
    (folder / "failure.json").write_text(content)
    with pytest.raises(UserError, match=r"failure\.json is not what Sensorium wrote"):
        runs.failure(str(folder))


@pytest.fixture
def file(folder, monkeypatch):
    """An experiment file of the task `lines`."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    (folder / "lines.json").write_text(json.dumps({"task": "lines", **Lines.experiment}))
    return "lines.json"


@pytest.mark.parametrize("start", [started, searching])
def test_storage_that_ends_with_the_process_is_refused(file, start):
    with pytest.raises(UserError, match=r"run\.storage is memory://runs, the memory of one process"):
        start(file, ["run.storage=memory://runs"])


def test_a_resumed_session_is_the_same_with_what_was_changed(file):
    first = started(file, ["training.epochs=3", "tracking.every=2"])
    again = resumed(first.run.name, [])
    assert again.run == first.run
    changed = resumed(first.run.name, ["training.epochs=3", "tracking.every=7", "run.threads=2"])
    assert changed.run.name == first.run.name
    assert changed.run.folder == first.run.folder
    assert changed.run.tracking["every"] == 7
    assert changed.run.experiment["run"]["threads"] == 2


def test_data_that_changed_since_a_run_was_begun_are_told(file, capsys):
    first = started(file, [])
    resumed(first.run.name, [])
    assert "The data differ" not in capsys.readouterr().err
    resumed(first.run.name, ["dataset.limit.test=1"])
    assert "The data differ from those that the run was begun with: test.\n" in capsys.readouterr().err


def test_the_record_of_a_resumed_run_stays_where_it_is(file, monkeypatch):
    first = started(file, [])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert resumed(first.run.name, []).run.tracking["uri"] == first.run.tracking["uri"]


def test_a_mistake_on_resuming_is_refused_and_the_failure_kept(file):
    first = started(file, [])
    runs.remember_failure(first.run.folder, UserError("Wrong."))
    with pytest.raises(UserError, match="Did you mean 'epochs'"):
        resumed(first.run.name, ["training.epoch=5"])
    assert runs.failure(first.run.folder) is not None
    resumed(first.run.name, [])
    assert runs.failure(first.run.folder) is None


def test_a_run_has_room_for_the_most_workers(file):
    assert started(file, ["run.workers=[1, 3]"]).run.workers == 3


@pytest.mark.parametrize(
    "change",
    [
        "tracking.experiment=other",
        "run.threads=0",
        "run.workers=2",
        "run.resources={CPU: 2}",
        "run.max_failures=0",
        "run.timeout=5",
        "evaluation={epochs: 1, during: train}",
        "evaluation.split=train",
        "training.checkpoints.steps=1",
        "training.checkpoints={keep: 9}",
        "dataset.limit.test=3",
    ],
)
def test_a_resumed_run_takes_what_changes_no_weight(file, change):
    assert resumed(started(file, []).run.name, [change]).assembly


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("training.epochs=99", "training.epochs is 1 in this run, and cannot become 99: it decides what the run"),
        ("training.optimizer.lr=0.5", r"training.optimizer.lr is .* cannot become 0.5"),
        ("run.seed=9", "run.seed is 0 in this run, and cannot become 9"),
        ("dataset.limit.train=3", "dataset.limit.train is None .*: the run learns from the split train"),
        ("dataset.broken=skip", "dataset.broken is 'refuse' in this run"),
    ],
)
def test_a_resumed_run_refuses_to_become_another_one(file, monkeypatch, change, said):
    first = started(file, ["training.epochs=1"])

    def opened(*_):
        raise AssertionError("it is refused before anything is opened")

    monkeypatch.setattr("sensorium.training.session.assemble", opened)
    with pytest.raises(UserError, match=said):
        resumed(first.run.name, [change])


def test_early_stopping_fixes_what_it_looks_at(file):
    stopping = ["training.early_stopping={metric: loss}", "evaluation.epochs=1", "dataset.holdout=0.2"]
    first = started(file, stopping)
    with pytest.raises(UserError, match=r"evaluation.epochs is 1 .*: it decides when early stopping ends"):
        resumed(first.run.name, ["evaluation.epochs=2"])


def test_a_storage_that_cannot_be_written_is_refused_before_anything_is_assembled(file, monkeypatch):
    first = started(file, [])
    first.claim.release()

    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.pipe_file", refused)
    monkeypatch.setattr("sensorium.training.session.assemble", refused)
    with pytest.raises(UserError, match=r"The storage .* cannot be written: .*Read-only file system"):
        resumed(first.run.name, [])


def test_what_cannot_be_removed_is_told(monkeypatch, folder):
    runs.remember_failure("here", SensoriumError("Wrong."))

    def refused(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.rm", refused)
    with pytest.raises(UserError, match=r"The storage here cannot be written: .*Read-only file system"):
        runs.forget_failure("here")
