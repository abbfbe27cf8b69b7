from contextlib import contextmanager

import pytest
import torch
import torch._dynamo as dynamo
from torch import Tensor, nn

from sensorium import Batch, Padded, UserError
from sensorium.contracts import workers
from sensorium.engine import speed
from training import build, train

GPU = torch.device("cuda", 0)


class Stream:
    """Notes what is asked of a stream of a GPU."""

    def __init__(self, name, told):
        self.name, self.told = name, told

    def wait_stream(self, other):
        self.told.append(f"{self.name} waits for {other.name}")


def test_a_batch_is_copied_on_a_stream_of_its_own_and_used_on_that_of_the_step(monkeypatch):
    told, step, now = [], None, []
    step = Stream("step", told)

    @contextmanager
    def on(stream):
        now.append(stream.name)
        yield
        now.pop()

    def to(batch, device):
        told.append(f"copied on {now[-1]} to {device}")
        return batch

    monkeypatch.setattr("torch.cuda.Stream", lambda device: Stream("copies", told))
    monkeypatch.setattr("torch.cuda.stream", on)
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: step)
    monkeypatch.setattr(Batch, "to", to)
    monkeypatch.setattr(
        Tensor, "record_stream", lambda tensor, stream: told.append(f"{len(tensor)} rows: {stream.name}")
    )
    words = Padded(torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool))
    batch = Batch([{"id": "a"}, {"id": "b"}], {"x": torch.zeros(2), "words": words})
    assert speed.Transfer(GPU)(batch) is batch
    assert told == ["copied on copies to cuda:0", "step waits for copies", *["2 rows: step"] * 3]


def test_on_the_processor_nothing_is_set_and_batches_stay(monkeypatch):
    conv, before = nn.Conv2d(3, 4, 3), torch.backends.cuda.matmul.fp32_precision
    cpu = torch.device("cpu")
    speed.prepare(conv, cpu, "bf16", sharded=False)
    assert conv.weight.is_contiguous()
    assert torch.backends.cuda.matmul.fp32_precision == before
    x = torch.zeros(1)
    assert speed.Transfer(cpu)(Batch([{"id": "a"}], {"x": x}))["x"] is x


@pytest.mark.parametrize(
    ("precision", "sharded", "matrices", "last"),
    [
        ("fp32", False, "ieee", False),
        ("tf32", False, "tf32", True),
        ("bf16", False, "tf32", True),
        ("bf16", True, "tf32", False),
    ],
)
def test_what_a_gpu_multiplies_in_and_how_weights_lie(precision, sharded, matrices, last, monkeypatch):
    kept = torch.backends.cuda.matmul.fp32_precision
    conv = nn.Conv2d(3, 4, 3)
    try:
        speed.prepare(nn.Sequential(conv, nn.Linear(2, 2)), GPU, precision, sharded)
        assert torch.backends.cuda.matmul.fp32_precision == matrices
    finally:
        torch.backends.cuda.matmul.fp32_precision = kept
    assert conv.weight.is_contiguous() is not last
    assert conv.weight.is_contiguous(memory_format=torch.channels_last) is last


def test_a_layout_changes_no_result_and_outlives_a_checkpoint():
    torch.manual_seed(0)
    plain, laid = nn.Conv2d(3, 4, 3), nn.Conv2d(3, 4, 3)
    laid.load_state_dict(plain.state_dict())
    speed.channels_last(laid)
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(laid(x), plain(x))
    restored = workers.cut_like(plain.weight.detach(), laid.weight)  # fused optimizers want states to lie as weights do
    assert torch.equal(restored, plain.weight)
    assert restored.stride() == laid.weight.stride() != plain.weight.stride()
    assert restored.data_ptr() != laid.weight.data_ptr()


def losses(task, folder, *options):
    trained = train(task, folder, "dataset.train=40", *options)
    return [{name: float(value) for name, value in step.losses.items()} for step in trained.steps]


@pytest.mark.parametrize("task", ["toy_regression", "toy_pairs", "toy_gan"])
def test_a_compiled_forward_pass_is_one_graph_and_gives_the_same_losses(task, tmp_path):
    options = ["model.loss=infonce"] if task == "toy_pairs" else []
    right = losses(task, tmp_path / "right", *options)
    for backend in ("eager", "aot_eager"):
        dynamo.reset()
        dynamo.utils.counters.clear()
        assert losses(task, tmp_path / backend, *options, f"training.compile={backend}") == right
        assert not dynamo.utils.counters["graph_break"]
        assert 0 < dynamo.utils.counters["stats"]["unique_graphs"] <= 2, "no step compiles anew"


def test_an_unknown_backend_is_refused_before_anything_is_trained():
    with pytest.raises(UserError, match=r"no backend of torch\.compile 'inductr' at training\.compile.*'inductor'"):
        build("toy_regression", "training.compile=inductr")
    build("toy_regression", "training.compile=aot_eager")


def test_batches_are_pinned_but_for_what_stays_on_the_host(monkeypatch):
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor.clone())
    words = Padded(torch.zeros(1, 3), torch.ones(1, 3, dtype=torch.bool))
    batch = Batch([{"id": "a"}], {"x": torch.zeros(1), "words": words})
    pinned = batch.pinned()
    assert pinned["words"].counted is words.counted
    assert pinned["words"].data is not words.data
    assert pinned["x"] is not batch["x"]
