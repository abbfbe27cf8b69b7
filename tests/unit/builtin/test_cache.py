"""What is kept on the disk for all processes: whole, within a bound, made once, and mapped."""

import errno
import fcntl
import multiprocessing
import os
import pickle
import shutil
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np
import pytest

from sensorium import UserError
from sensorium.builtin.datasets import cache
from sensorium.builtin.datasets.cache import Cache, Store, name_of, pread
from sensorium.builtin.datasets.mapped import Arrays, Writer, mapped


def store(folder, bound=10_000):
    return Store(str(folder), bound)


def bytes_of(content):
    return lambda: (len(content), lambda file: file.write(content))


def kept(place):
    return sorted(path.name.partition("-")[2] for path in place.folder.glob("shard-*"))


def name(letter):
    return f"shard-{letter * 8}"


def test_an_entry_is_made_once_and_found_again(tmp_path):
    made = []

    def make():
        made.append(1)
        return bytes_of(b"abc")()

    place = store(tmp_path)
    assert place.find(name("a")) is None
    with ThreadPoolExecutor(8) as pool:
        paths = set(pool.map(lambda _: place.keep(name("a"), make), range(50)))
    assert (made, paths) == ([1], {place.find(name("a"))})
    assert pread(paths.pop(), 1, 3) == b"bc"
    assert store(tmp_path).find(name("a")) is not None


def _make_slowly(folder, asked):
    def write(file):
        time.sleep(0.2)
        file.write(b"abc")

    def make():
        (folder / f"by-{os.getpid()}").touch()
        return 3, write

    asked.wait()
    Store(str(folder / "cache"), 100).keep("shard-00000000", make)


def test_of_several_processes_one_makes_an_entry(tmp_path):
    fork = multiprocessing.get_context("fork")
    asked = fork.Barrier(4)
    processes = [fork.Process(target=_make_slowly, args=(tmp_path, asked)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert len(list(tmp_path.glob("by-*"))) == 1


def test_what_was_longest_not_used_goes_first_and_the_bound_holds(tmp_path):
    place = store(tmp_path, 1000)
    for age, letter in enumerate("abc"):
        os.utime(place.keep(name(letter), bytes_of(bytes(300))), (age, age))
    place.find(name("a"))  # used just now
    place.keep(name("d"), bytes_of(bytes(350)))
    assert kept(place) == ["a" * 8, "c" * 8, "d" * 8]
    place.keep(name("e"), bytes_of(bytes(1000)))
    assert kept(place) == ["e" * 8]
    assert place.keep(name("f"), bytes_of(bytes(1001))) is None
    assert kept(place) == ["e" * 8]


def test_indices_go_last(tmp_path):
    place = store(tmp_path, 1000)
    os.utime(place.keep("index-00000000", bytes_of(bytes(300))), (0, 0))
    place.keep(name("a"), bytes_of(bytes(300)))
    place.keep(name("b"), bytes_of(bytes(600)))
    assert (kept(place), place.find("index-00000000") is not None) == (["b" * 8], True)


def test_what_is_being_written_counts_and_is_waited_for_and_what_a_dead_process_left_goes(tmp_path):
    place = store(tmp_path, 1000)
    part = place.folder / "shard-bbbb.1.part"
    part.write_bytes(bytes(500))
    place.keep(name("a"), bytes_of(bytes(300)))
    assert kept(place) == ["a" * 8, "bbbb.1.part"]
    with part.open("rb") as living, ThreadPoolExecutor(1) as pool:
        fcntl.flock(living, fcntl.LOCK_EX)
        place.keep(name("c"), bytes_of(bytes(400)))
        assert kept(place) == ["bbbb.1.part", "c" * 8]
        waiting = pool.submit(place.keep, name("d"), bytes_of(bytes(900)))
        time.sleep(3 * cache.PAUSE)
        assert not waiting.done()
        fcntl.flock(living, fcntl.LOCK_UN)
        assert waiting.result() is not None
    assert kept(place) == ["d" * 8]


def test_many_who_write_at_a_time_stay_within_the_bound(tmp_path):
    place, most = store(tmp_path, 1000), []

    def write(file):
        sizes = []
        for path in place.folder.glob("shard-*"):
            with suppress(FileNotFoundError):  # another one has just ended
                sizes.append(path.stat().st_size)
        most.append(sum(sizes))
        file.write(bytes(300))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: place.keep(f"shard-{n:08x}", lambda: (300, write)), range(24)))
    assert max(most) <= 1000
    assert len(kept(place)) == 3


@pytest.mark.parametrize("content", [b"ab", b"abcd"])
def test_an_entry_of_another_size_than_it_should_have_is_not_there(tmp_path, content):
    place = store(tmp_path)
    with pytest.raises(OSError, match=f"{len(content)} bytes came where 3 were expected"):
        place.keep(name("a"), lambda: (3, lambda file: file.write(content)))
    assert kept(place) == []


def test_an_entry_that_is_removed_while_it_is_read_is_read_to_its_end_and_then_let_go(tmp_path):
    place = store(tmp_path, 1000)
    path = place.keep(name("a"), bytes_of(b"a" * 600))
    assert pread(path, 0, 2) == b"aa"
    path.unlink()
    assert pread(path, 598, 600) == b"aa"
    place.keep(name("b"), bytes_of(bytes(600)))
    assert not any(key[0] == path for key in cache._open)


def test_an_entry_under_way_is_waited_for(tmp_path):
    place, begun, go_on = store(tmp_path), threading.Event(), threading.Event()

    def write(file):
        begun.set()
        go_on.wait()
        file.write(b"abc")

    with ThreadPoolExecutor(2) as pool:
        writing = pool.submit(place.keep, name("a"), lambda: (3, write))
        begun.wait()
        reading = pool.submit(place.find, name("a"))
        go_on.set()
        assert reading.result() == writing.result() is not None


def test_a_folder_that_cannot_be_written_is_told_or_made_up_for(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written.*cache\.folder"):
        Cache(folder=str(tmp_path / "file")).open()
    cache._folder.cache_clear()
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "file"))
    own = Cache().open()
    assert own.keep(name("a"), bytes_of(b"abc")).read_bytes() == b"abc"
    cache._folder.cache_clear()
    monkeypatch.setenv("SENSORIUM_CACHE", str(tmp_path / "mine"))
    assert Cache().open().folder == tmp_path / "mine"
    cache._folder.cache_clear()
    with pytest.raises(ValueError, match="above 0"):
        Cache(gigabytes=0)


def test_what_ends_before_it_should_is_not_taken_for_whole(tmp_path):
    path = store(tmp_path).keep(name("a"), bytes_of(b"abc"))
    with pytest.raises(OSError, match="ends at byte 3, before 5"):
        pread(path, 1, 5)


def test_a_folder_that_is_removed_meanwhile_is_made_again(tmp_path):
    place = store(tmp_path / "mine")
    place.keep(name("a"), bytes_of(b"abc"))
    shutil.rmtree(place.folder)
    assert place.keep(name("a"), bytes_of(b"abc")).read_bytes() == b"abc"


# -------------------------------------------------------------------------------------- mapped arrays


def test_arrays_are_what_was_added_piece_by_piece(tmp_path):
    writer = Writer()
    for part in ([[1, 2], [3, 4]], np.empty((0, 2)), [[5, 6]]):
        writer.add("pairs", part)
    writer.add("weights", [0.5, 1.5, 2.5], "float32")
    for texts in (["a", ""], [], ["größe 한", b"\xff"]):
        writer.add_texts("names", texts)
    writer.about = {"dropped": 3}
    place = store(tmp_path)
    arrays = mapped(place, name_of("index", "x"), lambda: writer)
    assert (arrays["pairs"].tolist(), arrays["pairs"].dtype) == ([[1, 2], [3, 4], [5, 6]], np.int64)
    assert (arrays["weights"].tolist(), arrays["weights"].dtype) == ([0.5, 1.5, 2.5], np.float32)
    assert [arrays.text("names", row) for row in range(3)] == ["a", "", "größe 한"]
    assert arrays.bytes("names", 3) == b"\xff"
    assert arrays.about == {"dropped": 3}
    again = pickle.loads(pickle.dumps(arrays))
    assert again["pairs"].tolist() == arrays["pairs"].tolist()
    assert len(again) == len(list(again)) == 4


def test_arrays_are_mapped_and_cannot_be_written(tmp_path):
    writer = Writer()
    writer.add("numbers", np.arange(10**6))
    arrays = mapped(store(tmp_path, 10**8), name_of("index", "x"), lambda: writer)
    base = arrays["numbers"]
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        arrays["numbers"][0] = 1


def test_an_index_is_built_once(tmp_path):
    built = []

    def build():
        built.append(1)
        writer = Writer()
        writer.add("numbers", [1])
        return writer

    for _ in range(3):
        assert mapped(store(tmp_path), "index-00000000", build)["numbers"].tolist() == [1]
    assert built == [1]
    with pytest.raises(UserError, match=r"finds no room in the cache.*1e-09 GB.*Raise cache\.gigabytes"):
        mapped(store(tmp_path / "small", 1), "index-00000000", build)
    assert isinstance(Arrays(store(tmp_path).find("index-00000000")), Arrays)


@pytest.mark.parametrize("harm", [lambda data: data[:-8], lambda data: b"", lambda data: b"\xff" + data[1:]])
def test_an_index_that_was_damaged_on_the_disk_is_built_anew(tmp_path, harm):
    def build():
        writer = Writer()
        writer.add("numbers", np.arange(100))
        return writer

    place = store(tmp_path, 10**6)
    path = mapped(place, "index-00000000", build).path
    path.write_bytes(harm(path.read_bytes()))
    assert mapped(place, "index-00000000", build)["numbers"].tolist() == list(range(100))


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Store, "_begun", full)
    with pytest.raises(UserError, match=rf"cannot be kept in the cache {tmp_path}: No space left.*Make room"):
        mapped(store(tmp_path), "index-00000000", Writer)
