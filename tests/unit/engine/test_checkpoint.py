import errno
import json
import os
import pickle
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import fsspec
import pytest
import torch
from safetensors import SafetensorError

from gloo import alone
from sensorium import SensoriumError, UserError
from sensorium.engine import checkpoint
from sensorium.engine.checkpoint import MANIFEST, Store, open_checkpoint


def state(step):
    return {"model": {"a": torch.full((3, 2), float(step)), "b": torch.tensor(step)}, "optimizer": {}}


def save(store, *steps, kept=None):
    for step in steps:
        store.save(step, state(step), {"state": {"step": step, "name": "ü"}}, kept)
    store.wait()


@pytest.fixture
def store(tmp_path):
    return Store(str(tmp_path / "checkpoints"))


def folder(store, step):
    return Path(store.place(step))


def test_what_is_saved_comes_back(store):
    save(store, 5)
    assert store.written() == (store.place(5), 5)
    assert store.written() is None
    found = store.latest()
    assert (found.step, found.uri, found.document("state")["name"]) == (5, store.place(5), "ü")
    assert found.tensors("model").keys() == {"a", "b"}
    assert all(torch.equal(found.tensors("model")[name], tensor) for name, tensor in state(5)["model"].items())
    assert found.tensors("optimizer") == {}
    names = {path.name for path in found.folder.iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


@pytest.mark.parametrize("uri", [None, "memory://adopting/run"])
def test_a_checkpoint_of_another_run_becomes_the_only_one(store, tmp_path, uri):
    save(store, 3, 9)
    other = Store(uri or str(tmp_path / "other"))
    save(other, 5, 6)
    store.adopt(other.get(6))
    assert [path.name for path in sorted(Path(store.uri).iterdir())] == ["step-00000006"], "later ones are gone"
    found = store.latest()
    assert (found.step, found.document("state")["name"]) == (6, "ü")
    assert torch.equal(found.tensors("model")["a"], state(6)["model"]["a"])
    assert other.latest().step == 6


def test_a_torn_checkpoint_is_not_taken_over(store, tmp_path):
    save(store, 3)
    other = Store(str(tmp_path / "other"))
    save(other, 6)
    found = other.get(6)
    flip_a_byte(Path(other.place(6)))
    with pytest.raises(UserError, match="not a whole checkpoint"):
        store.adopt(found)
    assert store.latest().step == 3


def test_there_is_none_before_the_first(store):
    assert store.latest() is None
    with pytest.raises(UserError, match="is not a folder"):
        store.get(3)


def flip_a_byte(place):
    path = place / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def cut_short(place):
    with (place / "model.safetensors").open("r+b") as file:
        file.truncate(40)


def change_a_number(place):
    path = place / "state.json"
    path.write_text(path.read_text().replace("2", "9"))


def hide_a_pickle(place):
    (place / "model.pkl").write_bytes(pickle.dumps({}))


def put_in_a_folder(place):
    (place / "more").mkdir()


def list_a_pickle(place):
    hide_a_pickle(place)
    sign(place)


def sign(place):
    """Makes the manifest right for what lies there."""
    names = {path.name for path in place.iterdir()} - {"manifest.json"}
    digests = {name: checkpoint._sha256(place / name) for name in names}
    (place / "manifest.json").write_text(json.dumps({"sha256": digests}))


FAULTS = {
    "a flipped byte": (flip_a_byte, "model.safetensors is not as it was written"),
    "a cut file": (cut_short, "model.safetensors is not as it was written"),
    "a changed number": (change_a_number, "state.json is not as it was written"),
    "a lost file": (lambda place: (place / "state.json").unlink(), "state.json is missing"),
    "no manifest": (lambda place: (place / "manifest.json").unlink(), "manifest.json is missing"),
    "an empty manifest": (lambda place: (place / "manifest.json").write_text(""), "manifest.json is broken"),
    "another manifest": (lambda place: (place / "manifest.json").write_text("[1]"), "manifest.json is broken"),
    "a list of files": (lambda p: (p / "manifest.json").write_text('{"sha256": [[]]}'), "manifest.json is broken"),
    "a foreign file": (hide_a_pickle, "model.pkl does not belong to it"),
    "a foreign folder": (put_in_a_folder, "more does not belong to it"),
    "a pickle in the manifest": (list_a_pickle, "model.pkl is neither safetensors nor JSON"),
}


@pytest.mark.parametrize(("harm", "reason"), FAULTS.values(), ids=FAULTS)
def test_what_is_torn_or_foreign_is_passed_over_and_refused(harm, reason, store):
    save(store, 1, 2)
    harm(folder(store, 2))
    assert store.latest().step == 1
    for read in (lambda: store.get(2), lambda: open_checkpoint(store.place(2))):
        with pytest.raises(UserError, match=f"is not a whole checkpoint: {reason}.*Take the checkpoint before it"):
            read()
    save(store, 2)  # a resumed run gets there again
    assert store.latest().step == 2
    assert open_checkpoint(store.place(2)).tensors("model")["b"] == 2


class Burglar:
    """Unpickling it would leave a trace."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_a_pickle_dressed_up_as_weights_is_refused_and_never_run(store, tmp_path):
    save(store, 1)
    trace = tmp_path / "trace"
    disguise = folder(store, 1) / "model.safetensors"
    for write in (
        lambda: disguise.write_bytes(pickle.dumps(Burglar(trace))),
        lambda: torch.save(Burglar(trace), disguise),
    ):
        write()
        sign(folder(store, 1))
        found = store.latest()  # its manifest is right
        with pytest.raises(UserError, match=r"model.safetensors holds no tensors.*Weights are safetensors"):
            found.tensors("model")
        assert not trace.exists()
    pickle.loads(pickle.dumps(Burglar(trace)))
    assert trace.exists()  # so much for the bait


def test_the_latest_and_the_best_are_kept(store):
    save(store, 1, 2, 3, kept=1)
    assert sorted(path.name for path in Path(store.uri).iterdir()) == [f"step-0000000{step}" for step in (1, 2, 3)]
    save(store, 4, kept=1)
    assert sorted(path.name[-1] for path in Path(store.uri).iterdir()) == ["1", "3", "4"]
    save(store, 5, kept=4)
    assert sorted(path.name[-1] for path in Path(store.uri).iterdir()) == ["4", "5"]
    one = Store(store.uri, keep=1)
    save(one, 6)
    assert [path.name[-1] for path in Path(store.uri).iterdir()] == ["6"]


def test_torn_later_ones_do_not_push_out_whole_earlier_ones(tmp_path):
    store = Store(str(tmp_path), keep=1)
    save(store, 10)
    shutil.copytree(folder(store, 10), folder(store, 14))
    cut_short(folder(store, 14))
    assert store.latest().step == 10
    save(store, 12)
    assert store.latest().step == 12
    assert not folder(store, 14).exists()


def test_one_that_was_never_ended_does_not_count_among_those_kept(tmp_path):
    store = Store(str(tmp_path), keep=2)
    save(store, 10, 12)
    (folder(store, 12) / MANIFEST).unlink()
    save(store, 13)
    assert sorted(path.name[-2:] for path in tmp_path.iterdir()) == ["10", "13"]


def test_strange_names_are_left_alone(store):
    save(store, 1)
    for name in ("notes", "step-1", "step-00000009.old"):
        (Path(store.uri) / name).mkdir()
    save(store, 2, 3, 4)
    assert {"notes", "step-1", "step-00000009.old"} < {path.name for path in Path(store.uri).iterdir()}
    assert store.latest().step == 4


def test_saving_goes_on_beside_the_training_and_keeps_what_was(store, monkeypatch):
    may_write, real = threading.Event(), checkpoint.save_file
    monkeypatch.setattr(checkpoint, "save_file", lambda *args: (may_write.wait(20), real(*args)))
    tensors, documents = state(1), {"state": {"step": 1, "list": [1]}}
    store.save(1, tensors, documents)
    tensors["model"]["a"].fill_(-7)
    documents["state"]["list"].append(2)
    assert store.written() is None
    assert not folder(store, 1).exists()
    may_write.set()
    store.wait()
    saved = open_checkpoint(store.place(1))
    assert saved.tensors("model")["a"].unique().tolist() == [1.0]
    assert saved.document("state")["list"] == [1]
    assert store.written() == (store.place(1), 1)


def test_one_save_is_under_way_at_a_time(store, monkeypatch):
    writing, most, real = [], [], checkpoint.write
    lock = threading.Lock()

    def watched(*args):
        with lock:
            writing.append(1)
            most.append(len(writing))
        real(*args)
        writing.pop()

    monkeypatch.setattr(checkpoint, "write", watched)
    save(store, 1, 2, 3, 4, 5)
    assert most == [1] * 5
    saved = open_checkpoint(store.place(4)).tensors("model")["a"]
    assert saved.unique().tolist() == [4.0]  # although the buffers are used again


def die_while_writing(uri):
    save(Store(uri), 1)
    real = checkpoint.save_file

    def dying(tensors, path):
        real(tensors, path)
        os.kill(os.getpid(), signal.SIGKILL)

    checkpoint.save_file = dying
    save(Store(uri), 2)


def test_a_killed_writer_leaves_the_checkpoint_before_and_its_rest_goes(store):
    assert alone(die_while_writing, store.uri) == -signal.SIGKILL
    left = {path.name for path in Path(store.uri).iterdir()} - {"step-00000001"}
    assert [name.endswith(".partial") for name in left] == [True]
    assert store.latest().step == 1
    save(store, 2)
    assert {path.name for path in Path(store.uri).iterdir()} == {"step-00000001", "step-00000002"}


def fill_the_disk(uri):
    import resource

    store = Store(uri)
    save(store, 1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))
    with pytest.raises(SensoriumError, match=r"could not be written to .*File too large.*Make room.*--resume"):
        save(store, 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    assert {path.name for path in Path(uri).iterdir()} == {"step-00000001"}
    assert store.latest().step == 1
    save(store, 2)  # room was made
    assert store.latest().step == 2


def test_a_write_that_the_system_refuses_leaves_the_checkpoint_before(store):
    assert alone(fill_the_disk, store.uri) == 0


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A file system of 256 KiB; for those who may not mount one, what safetensors says of it."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, check=False, capture_output=True).returncode == 0
    if not mounted:
        real = checkpoint.save_file

        def small(tensors, path):
            if sum(tensor.nbytes for tensor in tensors.values()) > 2**18:
                raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
            real(tensors, path)

        monkeypatch.setattr(checkpoint, "save_file", small)
    yield place
    if mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_the_checkpoint_before(tiny):
    store = Store(str(tiny / "checkpoints"))
    large = {"model": {"a": torch.zeros(100, 256)}}
    store.save(1, large, {"state": {"step": 1}})
    store.wait()
    store.save(2, {"model": {"a": torch.zeros(300, 256)}}, {"state": {"step": 2}})
    with pytest.raises(SensoriumError, match=r"could not be written to .*[Nn]o space left.*Make room"):
        store.wait()
    assert [path.name for path in (tiny / "checkpoints").iterdir()] == ["step-00000001"]
    assert store.latest().step == 1


def test_a_full_disk_while_syncing_is_found(store, monkeypatch):
    save(store, 1)

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint, "_sync", full)
    with pytest.raises(SensoriumError, match=r"could not be written to .*before it are whole.*Make room.*--resume"):
        save(store, 2)
    assert store.written() == (store.place(1), 1)
    assert {path.name for path in Path(store.uri).iterdir()} == {"step-00000001"}
    assert store.latest().step == 1


def test_a_failure_is_told_by_the_next_save_and_then_forgotten(store, monkeypatch):
    save(store, 1)
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "_sync", lambda path: (_ for _ in ()).throw(OSError("gone")))
        store.save(2, state(2), {"state": {"step": 2}})
        store._thread.join()
    with pytest.raises(SensoriumError, match="gone"):
        store.save(3, state(3), {"state": {"step": 3}})
    save(store, 4)
    assert store.latest().step == 4


@pytest.fixture
def remote():
    yield Store("memory://bucket/run/checkpoints")
    fsspec.filesystem("memory").rm("/bucket", recursive=True)


def test_a_remote_store_does_the_same(remote):
    assert remote.latest() is None
    save(remote, 1, 2, 3, kept=1)
    save(remote, 4, kept=2)
    assert remote.written() == ("memory://bucket/run/checkpoints/step-00000004", 4)
    files = fsspec.filesystem("memory")
    held = sorted(Path(path).name for path in files.ls("/bucket/run/checkpoints", detail=False))
    assert held == ["step-00000002", "step-00000003", "step-00000004"]
    found = remote.latest()
    assert (found.step, found.uri) == (4, "memory://bucket/run/checkpoints/step-00000004")
    assert torch.equal(found.tensors("model")["a"], state(4)["model"]["a"])
    assert remote.get(3).tensors("model")["b"] == 3


def test_a_torn_remote_checkpoint_is_passed_over(remote):
    save(remote, 1, 2)
    files = fsspec.filesystem("memory")
    content = files.cat_file("/bucket/run/checkpoints/step-00000002/model.safetensors")
    files.pipe_file("/bucket/run/checkpoints/step-00000002/model.safetensors", content[:-1])
    assert remote.latest().step == 1
    with pytest.raises(UserError, match=r"model\.safetensors is not as it was written"):
        remote.get(2)


def test_a_remote_one_that_was_never_ended_does_not_count_among_those_kept(remote):
    save(remote, 1, 2, 3, 4)
    files, root = fsspec.filesystem("memory"), "/bucket/run/checkpoints"
    files.rm_file(f"{root}/step-00000004/{MANIFEST}")
    save(Store(remote.uri, remote.keep), 5)  # of the execution after it
    held = sorted(Path(path).name[-1] for path in files.ls(root, detail=False))
    assert held == ["3", "5"]


@pytest.fixture
def fetched(monkeypatch):
    """The names of the files that are read from a server."""
    names = []
    real = checkpoint.folders.fetch
    monkeypatch.setattr(
        checkpoint.folders, "fetch", lambda uri, some, folder: (names.extend(some), real(uri, some, folder))
    )
    return names


def test_of_a_remote_one_that_part_is_read_that_is_wanted(remote, fetched):
    save(remote, 1, 2)
    assert fetched == [], "what was written is not read back"
    assert remote.get(2, ["model.safetensors"]).tensors("model")["b"] == 2
    assert sorted(fetched) == [MANIFEST, "model.safetensors"]
    files = fsspec.filesystem("memory")
    place = "/bucket/run/checkpoints/step-00000002/model.safetensors"
    files.pipe_file(place, files.cat_file(place)[:-1] + b"?")
    with pytest.raises(UserError, match=r"model\.safetensors is not as it was written"):
        remote.get(2, ["model.safetensors"])
    with pytest.raises(UserError, match=r"average\.safetensors is missing"):
        remote.get(2, ["average.safetensors"])


def test_of_a_remote_one_without_manifest_nothing_is_read(remote, fetched):
    save(remote, 1, 2)
    fsspec.filesystem("memory").rm_file(f"/bucket/run/checkpoints/step-00000002/{MANIFEST}")
    assert remote.latest().step == 1
    assert len(fetched) == len(set(fetched)) == 4


def test_a_remote_upload_that_breaks_off_counts_for_nothing(remote, monkeypatch):
    save(remote, 1)
    files = type(fsspec.filesystem("memory"))
    real = files.put_file

    def breaking(self, local, *args, **kwargs):
        if local.endswith("state.json"):
            raise OSError("connection lost")
        return real(self, local, *args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(files, "put_file", breaking)
        with pytest.raises(SensoriumError, match="connection lost"):
            save(remote, 2)
    assert remote.latest().step == 1
    save(remote, 2)
    assert remote.latest().step == 2
