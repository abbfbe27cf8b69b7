import threading
import time

import pytest
import torch

from sensorium import MediaError, SensoriumError
from sensorium.builtin.modalities.vector import Vector
from sensorium.engine import storage
from sensorium.engine.loader import AHEAD, Loader
from sensorium.engine.order import Order, share
from toys import Noisy, Points

FIELDS = {"x": Noisy(Noisy.Config(size=4, sigma=1.0)), "y": Vector(Vector.Config(size=1))}
SPLIT = Points(Points.Config(train=23)).open("train")


def read(plan, threads=1, seed=0, split=SPLIT, fields=FIELDS):
    with Loader(split, fields, threads, seed) as loader:
        return list(loader.stream(plan))


@pytest.mark.parametrize("threads", [0, 1, 3, 4])
def test_order_is_kept_and_augmentation_does_not_depend_on_threads_or_batches(threads):
    whole = read([(2, list(range(23)))])[0]
    parts = read([(2, [5, 4, 3]), (2, [22]), (2, [7, 0, 9, 11, 1])], threads)
    assert [batch.ids for batch in parts[:2]] == [["train/5", "train/4", "train/3"], ["train/22"]]
    chosen = [5, 4, 3, 22, 7, 0, 9, 11, 1]
    assert torch.equal(torch.cat([batch["x"] for batch in parts]), whole["x"][chosen])
    assert torch.equal(torch.cat([batch["y"] for batch in parts]), whole["y"][chosen])


def test_augmentation_depends_on_seed_epoch_and_sample():
    same = [dict(sample, x=[0.0] * 4) for sample in SPLIT]
    first = read([(0, [0, 1])], split=same)[0]["x"]
    assert torch.equal(first, read([(0, [0, 1])], split=same)[0]["x"])
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, read([(1, [0, 1])], split=same)[0]["x"])
    assert not torch.equal(first, read([(0, [0, 1])], split=same, seed=1)[0]["x"])


def test_augmentation_does_not_depend_on_the_number_of_workers():
    order = Order(23, 10, 3)
    whole = read([(1, order.batch(1, 0))])[0]["x"]
    for workers in (2, 3, 4):
        parts = [read([(1, next(order.shares(1, 0, rank, workers)))])[0]["x"] for rank in range(workers)]
        assert torch.equal(torch.cat(parts), whole)


def test_evaluation_has_no_augmentation():
    batch = read([(None, [3, 4])])[0]
    assert batch["x"].tolist() == torch.tensor([SPLIT[3]["x"], SPLIT[4]["x"]]).tolist()


class Far(list):
    """A split at a server that does not answer at first."""

    def __init__(self, samples, refusals):
        super().__init__(samples)
        self.refusals = refusals

    def __getitem__(self, index):
        self.refusals -= 1
        if self.refusals >= 0:
            raise OSError("cannot be opened") from ConnectionResetError()
        return super().__getitem__(index)


@pytest.mark.parametrize("threads", [0, 2])
def test_a_server_that_goes_away_is_waited_for_but_not_for_ever(threads, monkeypatch):
    monkeypatch.setattr(storage.time, "sleep", lambda seconds: None)
    near = read([(0, [3, 4, 5])], threads)[0]
    far = read([(0, [3, 4, 5])], threads, split=Far(SPLIT, 4))[0]
    assert far.ids == near.ids
    assert torch.equal(far["x"], near["x"])
    monkeypatch.setattr(storage.time, "monotonic", iter(range(0, 10**6, 50)).__next__)
    with pytest.raises(SensoriumError, match=r"The server that sample \d is read from cannot be reached"):
        read([(0, [3])], threads, split=Far(SPLIT, 10**6))


@pytest.mark.parametrize("threads", [0, 1, 4])
def test_an_error_names_sample_field_and_cause(threads):
    broken = [dict(sample) for sample in SPLIT]
    broken[6]["y"] = [1.0, 2.0]
    with pytest.raises(MediaError, match=r"Sample train/6, field 'y': A vector holds 2 items\. 1 were expected"):
        read([(0, [1, 2]), (0, [3, 6, 7])], threads, split=broken)


def test_batches_before_a_broken_sample_still_come():
    broken = [dict(sample) for sample in SPLIT]
    broken[6]["x"] = "oops"
    with Loader(broken, FIELDS, 2) as loader:
        batches = loader.stream([(0, [1, 2]), (0, [3, 6])])
        assert next(batches).ids == ["train/1", "train/2"]
        with pytest.raises(MediaError, match="train/6"):
            next(batches)


class Slow:
    """A split that counts what has been read, and takes its time for the first samples."""

    def __init__(self):
        self.asked, self.lock = set(), threading.Lock()

    def __len__(self):
        return 23

    def __getitem__(self, index):
        time.sleep(0.02 if index < 2 else 0)
        with self.lock:
            self.asked.add(index)
        return SPLIT[index]


def test_a_few_batches_are_prepared_ahead_but_not_the_whole_epoch():
    split = Slow()
    with Loader(split, FIELDS, 2) as loader:
        batches = loader.stream([(0, [2 * turn, 2 * turn + 1]) for turn in range(11)])
        assert next(batches).ids == ["train/0", "train/1"]
        deadline = time.monotonic() + 5
        while len(split.asked) < 2 * (AHEAD + 1) and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(0.05)
        assert split.asked == set(range(2 * (AHEAD + 1)))
        batches.close()


def test_pinned_batches_are_pinned_beside_the_training(monkeypatch):
    by = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda x: by.append(threading.current_thread().name) or x)
    with Loader(SPLIT, FIELDS, 2, pinned=True) as loader:
        assert next(loader.stream([(0, [0, 1])])).ids == ["train/0", "train/1"]
    assert by == ["collator_0"] * 2


def test_a_loader_that_is_left_early_leaves_no_thread_behind():
    before = threading.active_count()
    with Loader(Slow(), FIELDS, 3) as loader:
        next(loader.stream([(0, share(list(range(23)), 0, 2))] * 9))
        assert threading.active_count() > before
    assert threading.active_count() == before
